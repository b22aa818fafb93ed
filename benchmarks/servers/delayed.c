/* MILLISECONDS -> a server on 127.0.0.1 that responds to each request after exactly that time.

   Prints its port on the first line. When standard input ends it prints, as JSON, the
   milliseconds between requests and their responses: p50, p99 and max.

   In C, because at a thousand concurrent requests a server in Python is late by more than
   the client that it measures. All responses have the same delay, so those to send are a
   queue, oldest first. It sleeps until the first one is due: a process that spins is the
   first to be preempted on a busy machine. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_PENDING 65536 /* responses; a client has one request on a connection */
#define EVENTS 256

static const char RESPONSE[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

static struct {
    double since; /* seconds */
    int connection;
} pending[MOST_PENDING];
static unsigned first, after_last; /* positions, modulo MOST_PENDING */
static double *took;
static size_t responses, capacity;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static void note(double seconds) {
    if (responses == capacity) {
        capacity = capacity ? 2 * capacity : 4096;
        took = realloc(took, capacity * sizeof *took);
        if (took == NULL)
            fail("realloc");
    }
    took[responses++] = seconds;
}

static void watch(int poller, int descriptor) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event))
        fail("epoll_ctl");
}

static void accept_all(int poller, int listener) {
    int connection, on = 1;
    while ((connection = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(poller, connection);
    }
}

/* Clients send the head of a request in one piece. */
static void receive(int connection) {
    static char buffer[65536];
    if (read(connection, buffer, sizeof buffer) <= 0) {
        close(connection);
        return;
    }
    if (after_last - first == MOST_PENDING)
        exit(1);
    pending[after_last % MOST_PENDING].since = now();
    pending[after_last++ % MOST_PENDING].connection = connection;
}

static void send_due(double delay) {
    while (first != after_last) {
        double waited = now() - pending[first % MOST_PENDING].since;
        if (waited < delay)
            return;
        note(waited);
        if (write(pending[first++ % MOST_PENDING].connection, RESPONSE, sizeof RESPONSE - 1) < 0)
            continue; /* the client has gone */
    }
}

/* The time until the first response is due, or NULL for ever. */
static struct timespec *until_due(double delay, struct timespec *time) {
    if (first == after_last)
        return NULL;
    double seconds = pending[first % MOST_PENDING].since + delay - now();
    time->tv_sec = seconds > 0 ? (time_t)seconds : 0;
    time->tv_nsec = seconds > 0 ? (long)((seconds - time->tv_sec) * 1e9) : 0;
    return time;
}

static void serve(int poller, int listener, double delay) {
    struct epoll_event events[EVENTS];
    struct timespec time;
    for (;;) {
        int count = epoll_pwait2(poller, events, EVENTS, until_due(delay, &time), NULL);
        for (int n = 0; n < count; n++) {
            if (events[n].data.fd == STDIN_FILENO)
                return;
            if (events[n].data.fd == listener)
                accept_all(poller, listener);
            else
                receive(events[n].data.fd);
        }
        send_due(delay);
    }
}

static int compare(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

int main(int count, char **arguments) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int poller = epoll_create1(0);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (count != 2)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096))
        fail("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &size))
        fail("getsockname");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    watch(poller, listener);
    watch(poller, STDIN_FILENO);
    serve(poller, listener, atof(arguments[1]) / 1000);
    if (responses == 0)
        note(0);
    qsort(took, responses, sizeof *took, compare);
    printf("{\"p50\": %f, \"p99\": %f, \"max\": %f}\n", took[responses / 2] * 1000,
           took[responses * 99 / 100] * 1000, took[responses - 1] * 1000);
    return 0;
}
