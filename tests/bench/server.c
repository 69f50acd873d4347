/* The test server of the load benchmark: one thread, epoll, one packet per token, and a truth log.
 *
 * The log tells when the kernel had each request (SO_TIMESTAMPNS) and when each token was handed to it, on CLOCK_REALTIME.
 * What a request gets is in its query: ttft_us=LOW-HIGH (spread by a fixed hash), itl_us=N, tokens=N. The server stalls as a
 * whole with --stall AFTER_MS,FOR_MS, counted from the first request.
 *
 *   server PORT LOG [--stall AFTER_MS,FOR_MS]        prints the port, and "first" at the first request; SIGTERM ends it
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 16384, ROOM = 1 << 17, ID_LENGTH = 48 };

typedef struct {
    char id[ID_LENGTH];
    int64_t received_ns;
    uint64_t first_token; /* where its times begin; room for all of them is taken at once */
    uint32_t tokens, sent, connection;
} Request;

typedef struct {
    int open;
    char *in; /* a request that has begun and not ended */
    size_t filled;
    int64_t arrived_ns;
    int64_t due_ns, itl_ns;
    uint32_t left;
    size_t heap_at; /* 1-based; 0: not waiting */
    size_t request;
    char *unsent;
    size_t unsent_length;
} Connection;

static Connection connections[CONNECTIONS];
static int heap[CONNECTIONS + 1];
static size_t heap_size;
static Request *requests;
static uint64_t request_count, request_room;
static int64_t *times;
static uint64_t time_count, time_room;
static int poller;
static volatile sig_atomic_t ending;
static int64_t stall_after_ns = -1, stall_for_ns, first_request_ns;

static const char EVENT[] =
    "data: {\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
    "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]}\n\n";
static const char HEAD[] =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
static char event_chunk[512];
static size_t event_length;

static int64_t now_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void heap_put(size_t at, int connection) {
    heap[at] = connection;
    connections[connection].heap_at = at;
}

static void heap_sink(size_t at) {
    int moved = heap[at];
    for (size_t child; (child = at * 2) <= heap_size; at = child) {
        if (child < heap_size && connections[heap[child + 1]].due_ns < connections[heap[child]].due_ns) child++;
        if (connections[heap[child]].due_ns >= connections[moved].due_ns) break;
        heap_put(at, heap[child]);
    }
    heap_put(at, moved);
}

static void heap_rise(size_t at) {
    int moved = heap[at];
    for (; at > 1 && connections[heap[at / 2]].due_ns > connections[moved].due_ns; at /= 2) heap_put(at, heap[at / 2]);
    heap_put(at, moved);
}

static void heap_add(int connection) {
    heap_put(++heap_size, connection);
    heap_rise(heap_size);
}

static void heap_remove(int connection) {
    size_t at = connections[connection].heap_at;
    if (!at) return;
    connections[connection].heap_at = 0;
    int last = heap[heap_size--];
    if (last == connection) return;
    heap_put(at, last);
    heap_rise(at);
    heap_sink(connections[last].heap_at);
}

static void forget(int connection) {
    Connection *c = &connections[connection];
    heap_remove(connection);
    free(c->in);
    free(c->unsent);
    close(connection);
    memset(c, 0, sizeof *c);
}

static void send_all(int connection, const char *bytes, size_t length) {
    Connection *c = &connections[connection];
    ssize_t sent = c->unsent_length ? 0 : send(connection, bytes, length, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN) return; /* the reading side will see the end */
        sent = 0;
    }
    if ((size_t)sent == length) return;
    c->unsent = realloc(c->unsent, c->unsent_length + length - sent);
    if (!c->unsent) die("realloc");
    memcpy(c->unsent + c->unsent_length, bytes + sent, length - sent);
    c->unsent_length += length - sent;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.fd = connection};
    epoll_ctl(poller, EPOLL_CTL_MOD, connection, &event);
}

static void send_rest(int connection) {
    Connection *c = &connections[connection];
    ssize_t sent = send(connection, c->unsent, c->unsent_length, MSG_NOSIGNAL);
    if (sent <= 0) return;
    memmove(c->unsent, c->unsent + sent, c->unsent_length - sent);
    c->unsent_length -= sent;
    if (c->unsent_length) return;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = connection};
    epoll_ctl(poller, EPOLL_CTL_MOD, connection, &event);
}

/* One token; with the first goes the head, with the last the end. */
static void send_token(int connection) {
    Connection *c = &connections[connection];
    Request *request = &requests[c->request];
    char out[2048];
    size_t length = 0;
    if (request->sent == 0) {
        memcpy(out, HEAD, sizeof HEAD - 1);
        length = sizeof HEAD - 1;
    }
    memcpy(out + length, event_chunk, event_length);
    length += event_length;
    uint32_t at = request->sent++;
    if (--c->left == 0) {
        char end[512];
        int size = snprintf(end, sizeof end,
                            "data: {\"id\":\"chatcmpl-0123456789abcdef\",\"choices\":[{\"index\":0,\"delta\":{},"
                            "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":%u,"
                            "\"total_tokens\":%u}}\n\ndata: [DONE]\n\n",
                            request->tokens, request->tokens + 8);
        length += sprintf(out + length, "%x\r\n%s\r\n0\r\n\r\n", size, end);
    }
    times[request->first_token + at] = now_ns(CLOCK_REALTIME);
    send_all(connection, out, length);
}

static long number_after(const char *text, const char *name, long otherwise) {
    const char *at = strstr(text, name);
    return at ? strtol(at + strlen(name), NULL, 10) : otherwise;
}

static void *grown(void *array, uint64_t *room, uint64_t wanted, size_t size) {
    if (wanted <= *room) return array;
    while (*room < wanted) *room = *room * 2 + 65536;
    array = realloc(array, *room * size);
    if (!array) die("realloc");
    return array;
}

/* A whole request lies in `text`, its line and headers ended by a NUL. */
static void begin_answer(int connection, char *text) {
    Connection *c = &connections[connection];
    long low = number_after(text, "ttft_us=", 0), high = low;
    const char *dash = strstr(text, "ttft_us=");
    if (dash && (dash = strpbrk(dash, "-& ")) && *dash == '-') high = strtol(dash + 1, NULL, 10);
    requests = grown(requests, &request_room, request_count + 1, sizeof *requests);
    Request *request = &requests[request_count];
    memset(request, 0, sizeof *request);
    c->request = request_count++;
    request->received_ns = c->arrived_ns;
    request->connection = connection;
    request->tokens = c->left = (uint32_t)number_after(text, "tokens=", 1);
    const char *id = strcasestr(text, "\nx-request-id:");
    if (id) sscanf(id + 14, " %47s", request->id);
    request->first_token = time_count;
    time_count += request->tokens;
    times = grown(times, &time_room, time_count, sizeof *times);
    memset(times + request->first_token, 0, request->tokens * sizeof *times);
    if (!first_request_ns) {
        first_request_ns = now_ns(CLOCK_MONOTONIC);
        puts("first");
        fflush(stdout);
    }
    c->itl_ns = number_after(text, "itl_us=", 0) * 1000;
    uint64_t hash = (request_count * 0x9e3779b97f4a7c15ULL) >> 40;
    int64_t ttft_ns = (low + (high > low ? (long)(hash % (uint64_t)(high - low + 1)) : 0)) * 1000;
    c->due_ns = now_ns(CLOCK_MONOTONIC) + ttft_ns;
    if (ttft_ns == 0 && c->itl_ns == 0) {
        while (c->left) send_token(connection);
        return;
    }
    heap_add(connection);
}

/* Answers every request that is whole; a client may not pipeline beyond the room. */
static void read_requests(int connection) {
    Connection *c = &connections[connection];
    if (!c->in && !(c->in = malloc(ROOM))) die("malloc");
    char control[128];
    struct iovec part = {.iov_base = c->in + c->filled, .iov_len = ROOM - 1 - c->filled};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t length = recvmsg(connection, &message, 0);
    if (length <= 0) {
        if (length == 0 || errno != EAGAIN) forget(connection);
        return;
    }
    if (c->filled == 0) {
        c->arrived_ns = now_ns(CLOCK_REALTIME);
        for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h)) {
            if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_TIMESTAMPNS) continue;
            struct timespec time;
            memcpy(&time, CMSG_DATA(h), sizeof time);
            c->arrived_ns = time.tv_sec * 1000000000LL + time.tv_nsec;
        }
    }
    c->filled += length;
    c->in[c->filled] = 0;
    char *end = strstr(c->in, "\r\n\r\n");
    if (!end) return;
    *end = 0;
    const char *header = strcasestr(c->in, "\ncontent-length:");
    size_t body = header ? strtoul(header + 16, NULL, 10) : 0;
    size_t whole = (size_t)(end + 4 - c->in) + body;
    if (whole >= ROOM) {
        forget(connection);
        return;
    }
    if (c->filled < whole) {
        *end = '\r';
        return;
    }
    begin_answer(connection, c->in);
    c->filled = 0;
}

static void accept_all(int listener) {
    for (;;) {
        int connection = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (connection < 0) return;
        if (connection >= CONNECTIONS) {
            close(connection);
            continue;
        }
        int on = 1;
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        memset(&connections[connection], 0, sizeof connections[connection]);
        connections[connection].open = 1;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = connection};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, connection, &event)) die("epoll_ctl");
    }
}

/* Sends what is due; gives how long the next one is away, -1: nothing waits. */
static int64_t send_due(void) {
    while (heap_size) {
        int connection = heap[1];
        Connection *c = &connections[connection];
        int64_t wait = c->due_ns - now_ns(CLOCK_MONOTONIC);
        if (wait > 0) return wait;
        send_token(connection);
        if (c->left == 0) {
            heap_remove(connection);
            continue;
        }
        c->due_ns += c->itl_ns;
        heap_sink(1);
    }
    return -1;
}

static int64_t stall(void) {
    if (stall_after_ns < 0 || !first_request_ns) return -1;
    int64_t wait = first_request_ns + stall_after_ns - now_ns(CLOCK_MONOTONIC);
    if (wait > 0) return wait;
    stall_after_ns = -1;
    struct timespec time = {.tv_sec = stall_for_ns / 1000000000, .tv_nsec = stall_for_ns % 1000000000};
    nanosleep(&time, NULL);
    return -1;
}

/* Lines of: id received_ns connection token_ns... ; a token that was not sent is left out. */
static void write_log(const char *name) {
    FILE *out = fopen(name, "w");
    if (!out) die(name);
    for (uint64_t i = 0; i < request_count; i++) {
        Request *r = &requests[i];
        fprintf(out, "%s %lld %u", *r->id ? r->id : "-", (long long)r->received_ns, r->connection);
        for (uint32_t t = 0; t < r->sent; t++) fprintf(out, " %lld", (long long)times[r->first_token + t]);
        fputc('\n', out);
    }
    if (fclose(out)) die(name);
}

static void end(int signal) {
    (void)signal;
    ending = 1;
}

static int listen_on(int port) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof place;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    /* Inherited by every connection, so that the first request's arrival is stamped too. */
    setsockopt(listener, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&place, sizeof place) || listen(listener, 8192)) die("listen");
    getsockname(listener, (struct sockaddr *)&place, &size);
    printf("%d\n", ntohs(place.sin_port));
    fflush(stdout);
    return listener;
}

int main(int count, char **words) {
    if (count < 3) {
        fprintf(stderr, "usage: %s PORT LOG [--stall AFTER_MS,FOR_MS]\n", words[0]);
        return 2;
    }
    for (int i = 3; i + 1 < count; i += 2) {
        long after, during;
        if (strcmp(words[i], "--stall") || sscanf(words[i + 1], "%ld,%ld", &after, &during) != 2) return 2;
        stall_after_ns = after * 1000000LL;
        stall_for_ns = during * 1000000LL;
    }
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    prctl(PR_SET_TIMERSLACK, 1);
    event_length = sprintf(event_chunk, "%zx\r\n%s\r\n", sizeof EVENT - 1, EVENT);
    poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(atoi(words[1]));
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[512];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    while (!ending) {
        int64_t wait = send_due(), stall_wait = stall();
        if (stall_wait >= 0 && (wait < 0 || stall_wait < wait)) wait = stall_wait;
        struct timespec time = {.tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000};
        int ready = epoll_pwait2(poller, events, 512, wait < 0 ? NULL : &time, NULL);
        for (int i = 0; i < ready; i++) {
            int socket = events[i].data.fd;
            if (socket == listener) {
                accept_all(listener);
                continue;
            }
            if (events[i].events & EPOLLOUT && connections[socket].unsent_length) send_rest(socket);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && connections[socket].open) read_requests(socket);
        }
    }
    write_log(words[2]);
    return 0;
}
