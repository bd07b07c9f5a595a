/* After a fork: the child's copies are refused, and can be freed; a store of its own works. */
#include "check.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static void a_forked_child_is_refused(onceward_store *store, onceward_queue *queue)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        onceward_message message = message_of("x", NULL);
        onceward_store *own = NULL;
        if (onceward_queue_send(queue, &message, NULL) != ONCEWARD_CLOSED) {
            _exit(2);
        }
        onceward_queue_free(queue);
        onceward_store_free(store);
        if (onceward_store_open("forked.db", NULL, &own) != ONCEWARD_OK) {
            _exit(3);
        }
        if (onceward_queue_open_existing(own, "jobs", NULL, &queue) != ONCEWARD_OK ||
            onceward_queue_send(queue, &message, NULL) != ONCEWARD_OK) {
            _exit(4);
        }
        onceward_queue_free(queue);
        onceward_store_free(own);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static volatile int busy = 1;

/* Opens and frees handles all the time, so that a fork meets the table of handles in use. */
static void *keeps_busy(void *queue)
{
    while (busy) {
        onceward_subscription *subscription = NULL;
        OK(onceward_subscription_open((onceward_queue *)queue, NULL, &subscription));
        onceward_subscription_free(subscription);
    }
    return NULL;
}

int main(void)
{
    onceward_store *store = NULL;
    onceward_queue *queue = NULL;
    onceward_subscription *subscription = NULL;
    pthread_t thread;
    OK(onceward_store_open("forked.db", NULL, &store));
    OK(onceward_queue_open(store, "jobs", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    CHECK(pthread_create(&thread, NULL, keeps_busy, queue) == 0);
    for (int i = 0; i < 20; i++) {
        a_forked_child_is_refused(store, queue);
    }
    busy = 0;
    CHECK(pthread_join(thread, NULL) == 0);
    OK(onceward_subscription_open(queue, NULL, &subscription));
    CHECK(counts(subscription).ready == 20);
    onceward_subscription_free(subscription);
    onceward_queue_free(queue);
    onceward_store_free(store);
    puts("done");
    return 0;
}
