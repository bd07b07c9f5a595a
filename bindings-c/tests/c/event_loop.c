/* Runs the event loop of docs/c.md, which the test puts into event_loop.inc. */
#include "check.h"

#include <pthread.h>

enum { SENT = 10 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int handled;

static void handle(onceward_delivery *delivery)
{
    onceward_message_view view = seen(delivery);
    CHECK(body_is(&view, "work"));
    OK(onceward_delivery_ack(delivery));
    pthread_mutex_lock(&lock);
    handled++;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

#include "event_loop.inc"

static void *serves(void *incoming)
{
    STATUS(ONCEWARD_CLOSED, serve((onceward_subscription *)incoming));
    return NULL;
}

int main(void)
{
    onceward_store *store = NULL;
    onceward_queue *queue = NULL;
    onceward_subscription *incoming = NULL;
    pthread_t thread;
    OK(onceward_store_open("loop.db", NULL, &store));
    OK(onceward_queue_open(store, "jobs", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    OK(onceward_subscription_open(queue, NULL, &incoming));
    CHECK(pthread_create(&thread, NULL, serves, incoming) == 0);
    for (int i = 1; i <= SENT; i++) {
        send_text(queue, "work", NULL);
        pthread_mutex_lock(&lock);
        while (handled < i) {
            pthread_cond_wait(&changed, &lock);
        }
        pthread_mutex_unlock(&lock);
    }
    OK(onceward_store_close(store));
    CHECK(pthread_join(thread, NULL) == 0);
    onceward_subscription_free(incoming);
    onceward_queue_free(queue);
    onceward_store_free(store);
    puts("done");
    return 0;
}
