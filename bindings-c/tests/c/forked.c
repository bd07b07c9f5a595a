/* After a fork: the child's copies are refused, and can be freed; a store of its own works. */
#include "everything.h"

#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static void ends_well(pid_t child)
{
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int readable(const onceward_readiness *readiness, int wait_ms)
{
    struct pollfd waits;
    memset(&waits, 0, sizeof waits);
    OK(onceward_readiness_descriptor(readiness, &waits.fd));
    waits.events = POLLIN;
    return poll(&waits, 1, wait_ms);
}

static void a_forked_child_is_refused(onceward_store *store, onceward_queue *queue, onceward_readiness *readiness)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        onceward_message message = message_of("x", NULL);
        onceward_store *own = NULL;
        if (onceward_queue_send(queue, &message, NULL) != ONCEWARD_CLOSED) {
            _exit(2);
        }
        if (onceward_readiness_clear(readiness) != ONCEWARD_CLOSED) {
            _exit(5);
        }
        onceward_readiness_free(readiness);
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
    ends_well(child);
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

static void *waits(void *consumer)
{
    onceward_delivery *delivery = NULL;
    STATUS(ONCEWARD_EMPTY, onceward_consumer_receive((onceward_consumer *)consumer, 60000, &delivery));
    return NULL;
}

/* The thread that receives holds the consumer, and the child does not have it: nothing there may wait for it. */
static void a_forked_child_waits_for_no_thread_of_its_parent(onceward_subscription *subscription)
{
    onceward_consumer *consumer = NULL;
    pthread_t thread;
    OK(onceward_subscription_consume(subscription, NULL, &consumer));
    CHECK(pthread_create(&thread, NULL, waits, consumer) == 0);
    CHECK(poll(NULL, 0, 500) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        onceward_delivery *delivery = NULL;
        alarm(60);
        if (onceward_consumer_receive(consumer, 0, &delivery) != ONCEWARD_CLOSED) {
            _exit(2);
        }
        if (onceward_consumer_flush(consumer) != ONCEWARD_CLOSED || onceward_consumer_close(consumer) != ONCEWARD_CLOSED) {
            _exit(3);
        }
        onceward_consumer_free(consumer);
        _exit(0);
    }
    ends_well(child);
    OK(onceward_consumer_flush(consumer));
    OK(onceward_consumer_stop(consumer));
    CHECK(pthread_join(thread, NULL) == 0);
    OK(onceward_consumer_close(consumer));
    onceward_consumer_free(consumer);
}

static void *queries(void *transaction)
{
    onceward_rows *rows = NULL;
    STATUS(ONCEWARD_EXPIRED,
           onceward_transaction_query((onceward_transaction *)transaction,
                                      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
                                      NULL, 0, &rows));
    return NULL;
}

/* The same for a transaction, with a statement that ends at the time limit. */
static void a_forked_child_waits_for_no_statement_of_its_parent(void)
{
    onceward_store_options options;
    onceward_store *store = NULL;
    onceward_transaction *transaction = NULL;
    pthread_t thread;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.transaction_time_limit_ms = 3000;
    OK(onceward_store_open("forked-transaction.db", &options, &store));
    OK(onceward_store_transaction(store, &transaction));
    CHECK(pthread_create(&thread, NULL, queries, transaction) == 0);
    CHECK(poll(NULL, 0, 500) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60);
        if (onceward_transaction_execute(transaction, "SELECT 1", NULL, 0, NULL) != ONCEWARD_CLOSED ||
            onceward_transaction_commit(transaction) != ONCEWARD_CLOSED ||
            onceward_transaction_rollback(transaction) != ONCEWARD_CLOSED) {
            _exit(2);
        }
        _exit(0);
    }
    ends_well(child);
    CHECK(pthread_join(thread, NULL) == 0);
    onceward_transaction_free(transaction);
    onceward_store_free(store);
}

/* A child that is refused reads and writes nothing: the parent goes on with all of it. */
static void every_call_of_a_forked_child_is_refused(void)
{
    struct everything all = everything_in("forked-everything.db");
    onceward_receipt receipts[2];
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(120);
        every_call_is_closed(&all);
        what_was_received_can_be_seen(&all);
        CLOSED(onceward_consumer_flush(all.consumer));
        OK(onceward_consumer_stop(all.consumer));
        CLOSED(onceward_consumer_close(all.consumer));
        CLOSED(onceward_transaction_rollback(all.transaction));
        /* There is nothing open here that it would have to close. */
        OK(onceward_store_close(all.store));
        free_everything(&all);
        _exit(0);
    }
    ends_well(child);
    onceward_stats stats = counts(all.subscription);
    CHECK(stats.ready == 2 && stats.in_flight == 3 && stats.dead == 1);
    OK(onceward_delivery_ack(all.delivery));
    OK(onceward_batch_receipts(all.batch, receipts, 2));
    OK(onceward_subscription_ack(all.subscription, receipts, 2, NULL, NULL));
    OK(onceward_transaction_execute(all.transaction, "CREATE TABLE t(x)", NULL, 0, NULL));
    OK(onceward_transaction_commit(all.transaction));
    OK(onceward_effect_ended(all.call, ONCEWARD_CALL_DONE, "7", 1));
    OK(onceward_effect_not_called(all.other_call));
    int32_t todo = -1;
    OK(onceward_effect_probed(all.question, ONCEWARD_PROBE_APPLIED, "7", 1, &todo, NULL));
    OK(onceward_readiness_clear(all.readiness));
    onceward_delivery *delivery = NULL;
    OK(onceward_consumer_receive(all.consumer, 0, &delivery));
    onceward_delivery_free(delivery);
    OK(onceward_consumer_close(all.consumer));
    free_everything(&all);
}

int main(void)
{
    onceward_store *store = NULL;
    onceward_queue *queue = NULL;
    onceward_subscription *subscription = NULL;
    onceward_readiness *readiness = NULL;
    pthread_t thread;
    OK(onceward_store_open("forked.db", NULL, &store));
    OK(onceward_queue_open(store, "jobs", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    OK(onceward_subscription_open(queue, NULL, &subscription));
    OK(onceward_readiness_open(subscription, &readiness));
    CHECK(pthread_create(&thread, NULL, keeps_busy, queue) == 0);
    for (int i = 0; i < 20; i++) {
        /* What the child did with its copy is not in the way: what it sent wakes the parent. */
        CHECK(readable(readiness, 0) == 0);
        a_forked_child_is_refused(store, queue, readiness);
        CHECK(readable(readiness, 60000) == 1);
        onceward_delivery *delivery = take(subscription);
        OK(onceward_delivery_ack(delivery));
        onceward_delivery_free(delivery);
        OK(onceward_readiness_clear(readiness));
    }
    busy = 0;
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(counts(subscription).ready == 0);
    a_forked_child_waits_for_no_thread_of_its_parent(subscription);
    a_forked_child_waits_for_no_statement_of_its_parent();
    every_call_of_a_forked_child_is_refused();
    onceward_readiness_free(readiness);
    onceward_subscription_free(subscription);
    onceward_queue_free(queue);
    onceward_store_free(store);
    puts("done");
    return 0;
}
