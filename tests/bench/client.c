/* The reference client of the load benchmark: what a bare epoll loop costs for the same streams.
 *
 * Closed loop over N connections for a number of seconds; stamps every read, counts events by their line beginnings, finds the
 * end of a response by its last chunk. No JSON, no schedule, no kernel stamps: a bound, not a tool.
 *
 *   client PORT PATH CONNECTIONS SECONDS        prints: events requests wall_seconds cpu_seconds
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 16, STAMPS = 4096, TAIL = 8 };

typedef struct {
    int socket;
    uint32_t count;
    size_t held;
    char tail[TAIL]; /* the last bytes: a marker may be cut by a read */
    int64_t sent_ns, stamps[STAMPS];
} Stream;

static char request[8192], room[ROOM + TAIL];
static size_t request_length;
static uint64_t events_seen, requests_done;

static int64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void ask(Stream *stream) {
    stream->count = 0;
    stream->held = 0;
    stream->sent_ns = now_ns();
    if (send(stream->socket, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) die("send");
}

/* True: the response is over. */
static int take(Stream *stream, ssize_t length, int64_t stamp) {
    char *from = room + TAIL - stream->held;
    memcpy(from, stream->tail, stream->held);
    char *end = room + TAIL + length;
    for (char *at = from; (at = memmem(at, end - at, "\ndata: {", 8)); at += 8) {
        if (at + 8 <= room + TAIL) continue; /* wholly in the part that was seen before */
        if (stream->count < STAMPS) stream->stamps[stream->count++] = stamp;
        events_seen++;
    }
    if (end - from >= 7 && !memcmp(end - 7, "\r\n0\r\n\r\n", 7)) return 1;
    stream->held = end - from < TAIL - 1 ? (size_t)(end - from) : TAIL - 1;
    memcpy(stream->tail, end - stream->held, stream->held);
    return 0;
}

static void open_stream(Stream *stream, int port, int poller) {
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    stream->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    if (connect(stream->socket, (struct sockaddr *)&place, sizeof place)) die("connect");
    setsockopt(stream->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = stream};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, stream->socket, &event)) die("epoll_ctl");
}

int main(int count, char **words) {
    if (count != 5) {
        fprintf(stderr, "usage: %s PORT PATH CONNECTIONS SECONDS\n", words[0]);
        return 2;
    }
    int port = atoi(words[1]), streams = atoi(words[3]);
    const char *body = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}],\"stream\":true}";
    request_length = snprintf(request, sizeof request,
                              "POST %s HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
                              words[2], strlen(body), body);
    Stream *all = calloc(streams, sizeof *all);
    int poller = epoll_create1(EPOLL_CLOEXEC);
    if (!all || poller < 0) die("start");
    for (int i = 0; i < streams; i++) open_stream(&all[i], port, poller);
    for (int i = 0; i < streams; i++) ask(&all[i]);
    int64_t began = now_ns(), ends = began + (int64_t)(atof(words[4]) * 1e9);
    struct epoll_event events[1024];
    while (now_ns() < ends) {
        int ready = epoll_wait(poller, events, 1024, 100);
        for (int i = 0; i < ready; i++) {
            Stream *stream = events[i].data.ptr;
            ssize_t length = recv(stream->socket, room + TAIL, ROOM, 0);
            if (length <= 0) die("recv");
            if (take(stream, length, now_ns())) {
                requests_done++;
                ask(stream);
            }
        }
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("%llu %llu %.6f %.6f\n", (unsigned long long)events_seen, (unsigned long long)requests_done,
           (now_ns() - began) / 1e9, cpu);
    return 0;
}
