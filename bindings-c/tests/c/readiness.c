/* A descriptor for event loops: poll(2) wakes for whatever there is to receive, and for the end of the store. */
#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOW = 0, PATIENCE = 60000, SENT = 40 };

/* Patient: under valgrind the other process takes seconds to open it. */
static onceward_store *opened(void)
{
    onceward_store *store = NULL;
    onceward_store_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.busy_timeout_ms = PATIENCE;
    OK(onceward_store_open("readiness.db", &options, &store));
    return store;
}

static int readable(int descriptor, int wait_ms)
{
    struct pollfd waits;
    memset(&waits, 0, sizeof waits);
    waits.fd = descriptor;
    waits.events = POLLIN;
    int found = poll(&waits, 1, wait_ms);
    CHECK(found >= 0 && (waits.revents & ~POLLIN) == 0);
    return found;
}

static onceward_readiness *ready_for(const onceward_subscription *subscription, int *descriptor)
{
    onceward_readiness *readiness = NULL;
    OK(onceward_readiness_open(subscription, &readiness));
    OK(onceward_readiness_descriptor(readiness, descriptor));
    CHECK(*descriptor > 2);
    return readiness;
}

/* Receives until there is nothing, acknowledges, and clears. */
static int drain(const onceward_subscription *subscription, const onceward_readiness *readiness)
{
    onceward_delivery *delivery = NULL;
    int count = 0;
    int32_t status;
    while ((status = onceward_subscription_receive(subscription, 0, &delivery)) == ONCEWARD_OK) {
        OK(onceward_delivery_ack(delivery));
        onceward_delivery_free(delivery);
        count++;
    }
    CHECK(status == ONCEWARD_EMPTY);
    OK(onceward_readiness_clear(readiness));
    return count;
}

/* The other process: sends when it is told to, one message at a time. */
static void sends_from_afar(int orders)
{
    onceward_store *store = NULL;
    onceward_queue *queue = NULL;
    char order = 0;
    store = opened();
    OK(onceward_queue_open(store, "afar", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    while (read(orders, &order, 1) == 1) {
        send_text(queue, "from afar", NULL);
    }
    onceward_queue_free(queue);
    onceward_store_free(store);
}

static void messages_of_another_process_wake_the_loop(onceward_store *store, int orders)
{
    onceward_queue *queue = NULL;
    onceward_subscription *subscription = NULL;
    int descriptor = -1;
    OK(onceward_queue_open(store, "afar", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    OK(onceward_subscription_open(queue, NULL, &subscription));
    onceward_readiness *readiness = ready_for(subscription, &descriptor);
    CHECK(!readable(descriptor, NOW));
    for (int i = 0; i < SENT; i++) {
        CHECK(write(orders, "x", 1) == 1);
        int received = 0;
        while (received == 0) {
            CHECK(readable(descriptor, PATIENCE));
            received = drain(subscription, readiness);
        }
        CHECK(received == 1);
    }
    CHECK(!readable(descriptor, NOW));
    onceward_readiness_free(readiness);
    onceward_subscription_free(subscription);
    onceward_queue_free(queue);
}

static void it_stays_readable_until_nothing_is_there(onceward_queue *queue, onceward_subscription *subscription)
{
    int descriptor = -1;
    send_text(queue, "before", NULL);
    onceward_readiness *readiness = ready_for(subscription, &descriptor);
    CHECK(readable(descriptor, NOW));
    OK(onceward_readiness_clear(readiness));
    CHECK(readable(descriptor, NOW));
    CHECK(drain(subscription, readiness) == 1);
    CHECK(!readable(descriptor, NOW));

    onceward_message message = message_of("later", NULL);
    message.delay_ms = 50;
    OK(onceward_queue_send(queue, &message, NULL));
    int received = 0;
    while (received == 0) {
        CHECK(readable(descriptor, PATIENCE));
        received = drain(subscription, readiness);
    }
    CHECK(received == 1);

    /* A lease that ends. */
    onceward_delivery *delivery = NULL;
    onceward_receive_options options;
    onceward_batch *batch = NULL;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.lease_ms = 30;
    send_text(queue, "held", NULL);
    OK(onceward_subscription_receive_many(subscription, &options, &batch));
    OK(onceward_readiness_clear(readiness));
    CHECK(readable(descriptor, PATIENCE));
    delivery = take(subscription);
    OK(onceward_delivery_ack(delivery));
    onceward_delivery_free(delivery);
    onceward_batch_free(batch);
    onceward_readiness_free(readiness);
}

static void *closes(void *store)
{
    OK(onceward_store_close((onceward_store *)store));
    return NULL;
}

static void closing_the_store_wakes_the_loop(onceward_store *store, onceward_subscription *subscription)
{
    int descriptor = -1;
    pthread_t thread;
    onceward_delivery *delivery = NULL;
    onceward_readiness *readiness = ready_for(subscription, &descriptor);
    onceward_readiness *late = NULL;
    CHECK(!readable(descriptor, NOW));
    CHECK(pthread_create(&thread, NULL, closes, store) == 0);
    CHECK(readable(descriptor, PATIENCE));
    CHECK(pthread_join(thread, NULL) == 0);
    STATUS(ONCEWARD_CLOSED, onceward_subscription_receive(subscription, 0, &delivery));
    STATUS(ONCEWARD_CLOSED, onceward_readiness_clear(readiness));
    CHECK(readable(descriptor, NOW));
    OK(onceward_readiness_descriptor(readiness, &descriptor));
    STATUS(ONCEWARD_CLOSED, onceward_readiness_open(subscription, &late));
    CHECK(late == NULL);
    onceward_readiness_free(readiness);
    onceward_readiness_free(readiness);
    STATUS(ONCEWARD_INVALID, onceward_readiness_clear(readiness));
    descriptor = 7;
    STATUS(ONCEWARD_INVALID, onceward_readiness_descriptor(readiness, &descriptor));
    CHECK(descriptor == -1);
    STATUS(ONCEWARD_INVALID, onceward_readiness_open((onceward_subscription *)readiness, &late));
}

int main(void)
{
    onceward_store *store = NULL;
    onceward_queue *queue = NULL;
    onceward_subscription *subscription = NULL;
    int orders[2];
    int status = 0;
    CHECK(pipe(orders) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(orders[1]);
        sends_from_afar(orders[0]);
        close(orders[0]);
        return 0;
    }
    close(orders[0]);
    store = opened();
    messages_of_another_process_wake_the_loop(store, orders[1]);
    close(orders[1]);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    OK(onceward_queue_open(store, "jobs", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    OK(onceward_subscription_open(queue, NULL, &subscription));
    it_stays_readable_until_nothing_is_there(queue, subscription);
    closing_the_store_wakes_the_loop(store, subscription);
    onceward_subscription_free(subscription);
    onceward_queue_free(queue);
    onceward_store_free(store);
    puts("done");
    return 0;
}
