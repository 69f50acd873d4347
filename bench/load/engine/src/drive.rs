//! Who sends when: a schedule (open loop), users (closed loop), or the caller one by one. And how a run ends.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use crate::clock;
use crate::config::{Loop, Session};
use crate::exchange::{Job, perform};
use crate::record::Record;
use crate::shared::Shared;
use crate::timer::Timer;

/// Runs to the end: sends, waits for what is open, gives up what will not end.
pub async fn run(shared: Arc<Shared>, submitted: UnboundedReceiver<Job>) -> Result<(), String> {
    let timer = Timer::new().map_err(|error| format!("timerfd: {error}"))?;
    let watch = tokio::spawn(watch(shared.clone()));
    match shared.config.drive {
        Loop::Open => open_loop(&shared, &timer).await,
        Loop::Closed => closed_loop(&shared, &timer).await,
        Loop::Submitted => submitted_loop(&shared, submitted).await,
    }
    shared.stopping.store(true, Ordering::Relaxed);
    drain(&shared).await;
    watch.abort();
    shared.counters.thread_cpu.store(clock::thread_cpu(), Ordering::Relaxed);
    Ok(())
}

/// Once a second: the clocks' difference anew, and the thread's own CPU time.
async fn watch(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut before = (clock::now(), clock::thread_cpu());
    loop {
        ticks.tick().await;
        shared.offset.measure();
        let (wall, cpu) = (clock::now(), clock::thread_cpu());
        if wall - before.0 > 500_000_000 {
            let busy = (cpu - before.1) * 1_000_000_000 / (wall - before.0);
            shared.counters.busiest_second.fetch_max(busy, Ordering::Relaxed);
        }
        shared.counters.thread_cpu.store(cpu, Ordering::Relaxed);
        before = (wall, cpu);
    }
}

/// False: the run was stopped before.
async fn wait_until(shared: &Shared, timer: &Timer, due: u64) -> bool {
    if clock::now() >= due {
        return !shared.is_stopping();
    }
    if timer.set(due).is_err() {
        return false;
    }
    shared.naps.set_due(due);
    let mut stop = std::pin::pin!(shared.stop.notified());
    let came = std::future::poll_fn(|context| {
        if shared.is_stopping() || stop.as_mut().poll(context).is_ready() {
            return Poll::Ready(false);
        }
        timer.poll_expired(due, context).map(|()| true)
    })
    .await;
    shared.naps.set_due(u64::MAX);
    came
}

async fn open_loop(shared: &Arc<Shared>, timer: &Timer) {
    let mut since_yield = 0;
    for (at, offset) in shared.schedule.offsets.iter().enumerate() {
        let due = shared.origin + offset;
        if !wait_until(shared, timer, due).await {
            return;
        }
        let number = shared.schedule.number(at);
        shared.counters.started.fetch_add(1, Ordering::Relaxed);
        let shared = shared.clone();
        tokio::spawn(async move { converse(&shared, number, due).await });
        // A backlog is worked off between the answers, not before them.
        since_yield += 1;
        if since_yield >= 16 {
            since_yield = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// One request, or all turns of a session; counted as started by the caller. False: an answer failed.
async fn converse(shared: &Arc<Shared>, number: u64, intended: u64) -> bool {
    shared.conversing.fetch_add(1, Ordering::Relaxed);
    let well = say_all(shared, number, intended).await;
    shared.conversing.fetch_sub(1, Ordering::Relaxed);
    shared.ended.notify_one();
    well
}

async fn say_all(shared: &Arc<Shared>, number: u64, intended: u64) -> bool {
    let template = shared.schedule.template(number, shared.templates.len());
    let prepared = shared.templates[template as usize].clone();
    let job = Job { number, template, turn: 0, intended, prepared: prepared.clone(), body: None };
    let Some(session) = &prepared.session else {
        let record = perform(shared, &job).await;
        let well = record.failure.is_none();
        shared.finish(record);
        return well;
    };
    let mut messages = String::new();
    for (turn, message) in session.turns.iter().enumerate() {
        if turn > 0 {
            shared.counters.started.fetch_add(1, Ordering::Relaxed);
        }
        messages.push_str(message);
        let body = format!("{}{messages}{}", session.before, session.after).into_bytes();
        let intended = if turn == 0 { intended } else { clock::now() };
        let record = perform(shared, &Job { turn: turn as u32, intended, body: Some(body), ..job.clone() }).await;
        let answer = reply(&record);
        shared.finish(record);
        let Some(answer) = answer else { return false };
        messages.push_str(&answer);
        if turn + 1 < session.turns.len() && !think(shared, session).await {
            return false;
        }
    }
    true
}

async fn think(shared: &Shared, session: &Session) -> bool {
    if session.think_ns > 0 {
        tokio::time::sleep(Duration::from_nanos(session.think_ns)).await;
    }
    !shared.halted.load(Ordering::Relaxed)
}

/// The answer as a message of the conversation; `None` if it failed.
fn reply(record: &Record) -> Option<String> {
    let text = record.text.as_deref().unwrap_or_default();
    let text = serde_json::to_string(text).ok().filter(|_| record.failure.is_none())?;
    Some(format!(",{{\"role\":\"assistant\",\"content\":{text}}},"))
}

/// Who of the users is at work; a user that was told to go may still be finishing.
type Present = Arc<Mutex<Vec<bool>>>;

async fn closed_loop(shared: &Arc<Shared>, timer: &Timer) {
    let present: Present = Arc::default();
    let ends = shared.origin + shared.config.duration_ns;
    let mut steps = shared.config.users.iter().map(|(offset, users)| (shared.origin + offset, *users)).peekable();
    wait_until(shared, timer, shared.origin).await;
    while !shared.is_stopping() && clock::now() < ends {
        while let Some((_, users)) = steps.next_if(|(due, _)| *due <= clock::now()) {
            shared.users.store(users, Ordering::Relaxed);
        }
        spawn_users(shared, &present);
        let due = steps.peek().map_or(ends, |(due, _)| *due).min(ends);
        if timer.set(due).is_err() {
            return;
        }
        let (mut stop, mut changed) =
            (std::pin::pin!(shared.stop.notified()), std::pin::pin!(shared.users_changed.notified()));
        std::future::poll_fn(|context| {
            let woken = stop.as_mut().poll(context).is_ready() || changed.as_mut().poll(context).is_ready();
            if woken { Poll::Ready(()) } else { timer.poll_expired(due, context) }
        })
        .await;
        if all_sent(shared) {
            return;
        }
    }
}

fn all_sent(shared: &Shared) -> bool {
    shared.counters.started.load(Ordering::Relaxed) >= shared.config.requests_max
}

fn spawn_users(shared: &Arc<Shared>, present: &Present) {
    let wanted = shared.users.load(Ordering::Relaxed) as usize;
    let mut at_work = present.lock().expect("no holder panics");
    if at_work.len() < wanted {
        at_work.resize(wanted, false);
    }
    for (user, works) in at_work.iter_mut().enumerate().take(wanted) {
        if !*works {
            *works = true;
            tokio::spawn(be_user(shared.clone(), present.clone(), user));
        }
    }
}

async fn be_user(shared: Arc<Shared>, present: Present, user: usize) {
    // A generator of its own for each user, so that one user's answers do not change another's pauses.
    let mut random = shared.config.seed ^ (user as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let stays = || !shared.is_stopping() && (user as u32) < shared.users.load(Ordering::Relaxed);
    while stays() {
        let at = shared.counters.started.fetch_add(1, Ordering::Relaxed);
        if at >= shared.config.requests_max {
            shared.counters.started.fetch_sub(1, Ordering::Relaxed);
            shared.begin_stop();
            break;
        }
        let well = converse(&shared, shared.schedule.number(at as usize), clock::now()).await;
        pause(&shared, &mut random, well).await;
    }
    let mut at_work = present.lock().expect("no holder panics");
    at_work[user] = false;
    drop(at_work);
    if stays() {
        // The users were raised again while this one was leaving.
        shared.users_changed.notify_one();
    }
}

/// Think time; after a failure at least 10 ms, so that a server that is not there is not asked 100,000 times a second.
async fn pause(shared: &Shared, random: &mut u64, well: bool) {
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *random;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let (least, most) = shared.config.think_ns;
    let think = least + (mixed ^ (mixed >> 31)) % (most.saturating_sub(least) + 1);
    let think = if well { think } else { think.max(10_000_000) };
    if think > 0 {
        tokio::time::sleep(Duration::from_nanos(think)).await;
    } else {
        // An answer that is there at once must not keep the other users waiting.
        tokio::task::yield_now().await;
    }
}

async fn submitted_loop(shared: &Arc<Shared>, mut submitted: UnboundedReceiver<Job>) {
    let ends = shared.origin + shared.config.duration_ns;
    let mut end = std::pin::pin!(tokio::time::sleep(Duration::from_nanos(ends.saturating_sub(clock::now()))));
    loop {
        let mut stop = std::pin::pin!(shared.stop.notified());
        let job = std::future::poll_fn(|context| {
            if shared.is_stopping() || stop.as_mut().poll(context).is_ready() || end.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            submitted.poll_recv(context)
        })
        .await;
        let Some(job) = job else { return };
        let shared = shared.clone();
        tokio::spawn(async move { shared.finish(perform(&shared, &job).await) });
    }
}

async fn drain(shared: &Shared) {
    let limit = Duration::from_nanos(shared.config.drain_ns);
    let emptied = async {
        while shared.in_flight() > 0 || shared.conversing.load(Ordering::Relaxed) > 0 {
            shared.ended.notified().await;
        }
    };
    if tokio::time::timeout(limit, emptied).await.is_err() {
        // No conversation goes on. A request between two waits hears the cut only when it is polled: rung until nothing is open.
        shared.halted.store(true, Ordering::Relaxed);
        for _ in 0..200 {
            shared.cut.notify_waiters();
            if shared.in_flight() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
