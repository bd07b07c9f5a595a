/* The C side of the comparison: bench CALL COUNT, started by the benchmark.
 *
 * Says "ready", makes COUNT calls for each line that it reads, and says how many nanoseconds one took; at the end of its input it
 * says how many it made. The store is in memory: what is measured is the way into the library and back. */
#define _POSIX_C_SOURCE 200809L

#include "onceward.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BODY = 100 };

static void check(int32_t status)
{
    if (status != ONCEWARD_OK) {
        fprintf(stderr, "%s: %s\n", onceward_status_name(status), onceward_error_message());
        exit(1);
    }
}

static double now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static double send(const onceward_queue *queue, int count)
{
    char body[BODY] = {0};
    onceward_message message;
    memset(&message, 0, sizeof message);
    message.size = sizeof message;
    message.body = body;
    message.body_size = sizeof body;
    double start = now_ns();
    for (int i = 0; i < count; i++) {
        check(onceward_queue_send(queue, &message, NULL));
    }
    return now_ns() - start;
}

/* Receives, reads, acknowledges and frees: four calls a message. */
static double receive(const onceward_subscription *incoming, int count)
{
    double start = now_ns();
    for (int i = 0; i < count; i++) {
        onceward_delivery *delivery = NULL;
        onceward_message_view view;
        check(onceward_subscription_receive(incoming, 0, &delivery));
        check(onceward_delivery_get(delivery, &view, sizeof view));
        check(view.body_size == BODY ? ONCEWARD_OK : ONCEWARD_OTHER);
        check(onceward_delivery_ack(delivery));
        onceward_delivery_free(delivery);
    }
    return now_ns() - start;
}

/* The smallest call there is: nearly nothing but the border. */
static double ask(const onceward_delivery *delivery, int count)
{
    int settled = 0;
    double start = now_ns();
    for (int i = 0; i < count; i++) {
        settled += onceward_delivery_is_settled(delivery);
    }
    double spent = now_ns() - start;
    check(settled == 0 ? ONCEWARD_OK : ONCEWARD_OTHER);
    return spent;
}

int main(int argc, char **argv)
{
    onceward_store *store = NULL;
    onceward_queue *queue = NULL;
    onceward_subscription *incoming = NULL;
    onceward_delivery *delivery = NULL;
    char line[16];
    long made = 0;
    if (argc != 3) {
        return 2;
    }
    int count = atoi(argv[2]);
    check(onceward_store_open(":memory:", NULL, &store));
    check(onceward_queue_open(store, "bench", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    check(onceward_subscription_open(queue, NULL, &incoming));
    if (strcmp(argv[1], "ask") == 0) {
        send(queue, 1);
        check(onceward_subscription_receive(incoming, 0, &delivery));
    }
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        double spent;
        if (strcmp(argv[1], "send") == 0) {
            spent = send(queue, count);
            receive(incoming, count);
        } else if (strcmp(argv[1], "receive") == 0) {
            send(queue, count);
            spent = receive(incoming, count);
        } else {
            spent = ask(delivery, count);
        }
        made += count;
        printf("%.3f\n", spent / count);
        fflush(stdout);
    }
    onceward_delivery_free(delivery);
    onceward_subscription_free(incoming);
    onceward_queue_free(queue);
    onceward_store_free(store);
    printf("count %ld\n", made);
    return 0;
}
