//! HTTP/2 against a server of our own on loopback: whole streams, refusals, resets, and many requests on few connections.

use std::time::Duration;

use _engine::config::Schedule;
use _engine::run::Run;
use serde_json::{Value, json};

#[allow(dead_code)]
#[path = "../examples/paced_server.rs"]
mod paced_server;

/// A server on a thread of its own; it ends with the test's process.
fn server() -> u16 {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            tell.send(listener.local_addr().expect("an address").port()).expect("a test that listens");
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(paced_server::serve_http2(stream));
            }
        });
    });
    told.recv().expect("a port")
}

fn run(port: u16, path: &str, users: u32, requests: u64) -> Value {
    let config = json!({
        "target": {"tls": false, "host": "127.0.0.1", "port": port, "authority": format!("127.0.0.1:{port}"), "proxy": null},
        "http2": true,
        "protocol": "openai-chat",
        "templates": [{"method": "POST", "path": path, "headers": [["Content-Type", "application/json"]], "body": "{}"}],
        "loop": "closed",
        "users": [[0, users]],
        "duration_ns": 5_000_000_000u64,
        "requests_max": requests,
        "timeout_ns": 3_000_000_000u64,
        "connect_timeout_ns": 1_000_000_000u64,
        "drain_ns": 1_000_000_000u64,
        "connections_max": 10_000,
        "id_header": "X-Request-Id",
        "id_prefix": "t",
        "kernel_stamps": true,
    });
    let run = Run::start(&config.to_string(), Schedule::default()).expect("a sound order");
    assert_eq!(run.wait(Duration::from_secs(10)), Some(Ok(())));
    serde_json::from_str(&run.results().expect("results")).expect("JSON")
}

#[test]
fn streams_are_read_token_by_token() {
    let told = run(server(), "/v1?tokens=4&itl_us=2000&ttft_us=5000", 2, 6);
    assert_eq!((told["ok"].as_u64(), told["output_tokens_usage"].as_u64()), (Some(6), Some(24)));
    assert_eq!(told["series"]["itl"]["count"], 18);
    assert!(told["series"]["ttft_from_sent"]["min"].as_u64() >= Some(5_000_000));
}

#[test]
fn a_hundred_users_share_few_connections() {
    let told = run(server(), "/v1?tokens=2&itl_us=20000", 150, 300);
    assert_eq!(told["ok"], 300);
    assert!(told["connections_opened"].as_u64() <= Some(3), "{}", told["connections_opened"]);
}

#[test]
fn a_stream_that_is_reset_is_incomplete() {
    let told = run(server(), "/v1?tokens=4&cut=1", 1, 2);
    assert_eq!(told["failed"]["incomplete"]["count"], 2);
}

#[test]
fn a_refusal_is_a_status() {
    let told = run(server(), "/missing", 1, 2);
    assert_eq!(told["failed"]["status"]["by_status"]["404"], 2);
}

#[test]
fn a_server_of_http1_is_a_fault_of_protocol() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            use std::io::Write;
            let _ = (&stream).write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            // Kept open: the fault is in the bytes, not in a close.
            std::mem::forget(stream);
        }
    });
    let told = run(port, "/", 1, 1);
    assert_eq!(told["ok"], 0);
    assert_eq!(told["sent"].as_u64().map(|sent| sent <= 1), Some(true));
    assert!(told["failed"].get("protocol").or(told["failed"].get("incomplete")).is_some(), "{}", told["failed"]);
}
