/* Everything that a program should not do and does: statuses, and never a crash. */
#include "check.h"

#include <pthread.h>

static void null_is_an_error_everywhere(void)
{
    char key[ONCEWARD_IDEMPOTENCY_KEY_SIZE];
    STATUS(ONCEWARD_INVALID, onceward_store_open(NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_store_open("x.db", NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_store_close(NULL));
    STATUS(ONCEWARD_INVALID, onceward_store_queues(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_store_ledgers(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_store_get_stats(NULL, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_store_transaction(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_store_in_doubt(NULL, 0, 1, NULL));
    STATUS(ONCEWARD_INVALID, onceward_store_resolve(NULL, 1, ONCEWARD_APPLIED, NULL, 0, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_store_resolutions(NULL, 0, 1, NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_open(NULL, NULL, 0, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_open_existing(NULL, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_get_settings(NULL, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_queue_send(NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_send_many(NULL, NULL, 1, NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_cancel(NULL, 1));
    STATUS(ONCEWARD_INVALID, onceward_queue_purge(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_pause(NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_resume(NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_subscriptions(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_unsubscribe(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_open(NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_create(NULL, NULL, 0, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_get_stats(NULL, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_subscription_peek(NULL, 1, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_dead_letters(NULL, 0, 1, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_redrive(NULL, NULL, 1, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_redrive_all(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_purge_dead(NULL, NULL, 1, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_purge_dead_all(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_unfinished(NULL, NULL, 1, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_receive(NULL, 0, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_receive_many(NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_ack(NULL, NULL, 1, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_nack(NULL, NULL, 0, 0, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_dead_letter(NULL, NULL, 0, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_release(NULL, NULL, 0, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_extend(NULL, NULL, 0, 1, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_batch_get(NULL, 0, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_batch_delivery(NULL, 0, NULL));
    STATUS(ONCEWARD_INVALID, onceward_batch_receipts(NULL, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_delivery_get(NULL, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_delivery_ack(NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_nack(NULL, 0, NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_dead_letter(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_release(NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_extend(NULL, 1));
    STATUS(ONCEWARD_INVALID, onceward_delivery_idempotency_key(NULL, "x", key, sizeof key));
    STATUS(ONCEWARD_INVALID, onceward_delivery_subscription(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_readiness_open(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_readiness_descriptor(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_readiness_clear(NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_consume(NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_consumer_receive(NULL, 0, NULL));
    STATUS(ONCEWARD_INVALID, onceward_consumer_flush(NULL));
    STATUS(ONCEWARD_INVALID, onceward_consumer_stop(NULL));
    STATUS(ONCEWARD_INVALID, onceward_consumer_close(NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_once_begin(NULL, NULL, NULL, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_ledger_once_begin(NULL, NULL, NULL, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_effect_ended(NULL, 0, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_effect_not_called(NULL));
    STATUS(ONCEWARD_INVALID, onceward_effect_probed(NULL, 0, NULL, 0, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_transaction(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_once(NULL, NULL, NULL, unreachable, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_transaction_execute(NULL, NULL, NULL, 0, NULL));
    STATUS(ONCEWARD_INVALID, onceward_transaction_execute_many(NULL, NULL, NULL, (size_t)-1, (size_t)-1, NULL));
    STATUS(ONCEWARD_INVALID, onceward_transaction_query(NULL, NULL, NULL, 0, NULL));
    STATUS(ONCEWARD_INVALID, onceward_transaction_send(NULL, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_transaction_ack(NULL, NULL, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_transaction_commit(NULL));
    STATUS(ONCEWARD_INVALID, onceward_transaction_rollback(NULL));
    STATUS(ONCEWARD_INVALID, onceward_rows_get(NULL, 0, 0, NULL));
    STATUS(ONCEWARD_INVALID, onceward_ledger_open(NULL, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_ledger_once(NULL, NULL, NULL, unreachable, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_ledger_idempotency_key(NULL, "x", key, sizeof key));
    STATUS(ONCEWARD_INVALID, onceward_outcome_set(NULL, "x", 1));
    STATUS(ONCEWARD_INVALID, onceward_messages_get(NULL, 0, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_dead_letters_get(NULL, 0, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_dead_letters_why(NULL, 0, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_doubts_get(NULL, 0, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_resolutions_get(NULL, 0, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_resolutions_answer(NULL, 0, NULL, 0));
    CHECK(onceward_queue_name(NULL) == NULL && onceward_names_get(NULL, 0) == NULL);
    CHECK(onceward_rows_column_name(NULL, 0) == NULL && onceward_bytes_data(NULL) == NULL);
    CHECK(onceward_names_count(NULL) + onceward_messages_count(NULL) + onceward_dead_letters_count(NULL) == 0);
    CHECK(onceward_batch_count(NULL) + onceward_rows_count(NULL) + onceward_rows_column_count(NULL) == 0);
    CHECK(onceward_doubts_count(NULL) + onceward_resolutions_count(NULL) + onceward_bytes_size(NULL) == 0);
    CHECK(onceward_delivery_is_settled(NULL) == 0);
    onceward_store_free(NULL);
    onceward_queue_free(NULL);
    onceward_subscription_free(NULL);
    onceward_delivery_free(NULL);
    onceward_batch_free(NULL);
    onceward_transaction_free(NULL);
    onceward_rows_free(NULL);
    onceward_ledger_free(NULL);
    onceward_bytes_free(NULL);
    onceward_names_free(NULL);
    onceward_messages_free(NULL);
    onceward_dead_letters_free(NULL);
    onceward_doubts_free(NULL);
    onceward_resolutions_free(NULL);
    onceward_readiness_free(NULL);
    onceward_consumer_free(NULL);
    onceward_effect_free(NULL);
}

static void freed_and_foreign_handles_are_told_apart(onceward_store *store, onceward_queue *queue)
{
    onceward_subscription *subscription = NULL;
    OK(onceward_subscription_open(queue, NULL, &subscription));
    STATUS(ONCEWARD_INVALID, onceward_queue_pause((onceward_queue *)subscription));
    CHECK(strstr(onceward_error_message(), "onceward_subscription") != NULL);
    onceward_queue_free((onceward_queue *)subscription);
    CHECK(counts(subscription).dead == 0);
    onceward_subscription_free(subscription);
    onceward_subscription_free(subscription);
    onceward_stats stats;
    STATUS(ONCEWARD_INVALID, onceward_subscription_get_stats(subscription, &stats, sizeof stats));
    int number = 7;
    STATUS(ONCEWARD_INVALID, onceward_store_close((onceward_store *)(void *)&number));
    onceward_store_free((onceward_store *)(void *)&number);
    STATUS(ONCEWARD_INVALID, onceward_store_close((onceward_store *)(size_t)1));

    /* Options and structures of wrong sizes. */
    onceward_store_options options;
    memset(&options, 0, sizeof options);
    onceward_store *other = store;
    STATUS(ONCEWARD_INVALID, onceward_store_open("x.db", &options, &other));
    CHECK(other == NULL && strstr(onceward_error_message(), "sizeof") != NULL);
    options.size = sizeof options + 1;
    STATUS(ONCEWARD_INVALID, onceward_store_open("x.db", &options, &other));
    options.size = 7;
    STATUS(ONCEWARD_INVALID, onceward_store_open("x.db", &options, &other));
    options.size = sizeof options.size;
    OK(onceward_store_open("shorter.db", &options, &other));
    onceward_store_stats whole;
    memset(&whole, 0x5a, sizeof whole);
    STATUS(ONCEWARD_INVALID, onceward_store_get_stats(other, &whole, sizeof whole + 1));
    STATUS(ONCEWARD_INVALID, onceward_store_get_stats(other, &whole, 0));
    OK(onceward_store_get_stats(other, &whole, sizeof whole.file_bytes));
    CHECK(whole.queues == 0x5a5a5a5a5a5a5a5a);
    onceward_store_free(other);

    /* Texts that are none, and numbers out of their limits. */
    onceward_queue *bad = NULL;
    STATUS(ONCEWARD_INVALID, onceward_queue_open(store, "\xff\xfe", ONCEWARD_AT_LEAST_ONCE, NULL, &bad));
    STATUS(ONCEWARD_INVALID, onceward_queue_open(store, "", ONCEWARD_AT_LEAST_ONCE, NULL, &bad));
    STATUS(ONCEWARD_INVALID, onceward_queue_open(store, "q", 0, NULL, &bad));
    onceward_message message = message_of("x", NULL);
    message.delay_ms = -5;
    STATUS(ONCEWARD_INVALID, onceward_queue_send(queue, &message, NULL));
    message = message_of("x", NULL);
    message.has_priority = 1;
    message.priority = 260;
    STATUS(ONCEWARD_INVALID, onceward_queue_send(queue, &message, NULL));
    message = message_of("x", NULL);
    message.body_size = (size_t)-1;
    STATUS(ONCEWARD_INVALID, onceward_queue_send(queue, &message, NULL));
    message.body = NULL;
    message.body_size = 1;
    STATUS(ONCEWARD_INVALID, onceward_queue_send(queue, &message, NULL));
    message = message_of("x", NULL);
    message.header_count = 1;
    STATUS(ONCEWARD_INVALID, onceward_queue_send(queue, &message, NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_send_many(queue, &message, 10001, NULL));
    CHECK(strcmp(onceward_status_name(12345), "Unknown") == 0);
    CHECK(strcmp(onceward_status_name(ONCEWARD_LEASE_LOST), "LeaseLost") == 0);
}

enum { THREADS = 4, EACH = 25, ROUNDS = 20 };

struct work {
    const onceward_queue *queue;
    const onceward_subscription *subscription;
    int taken;
};

static void *works(void *given)
{
    struct work *work = (struct work *)given;
    CHECK(onceward_error_status() == ONCEWARD_OK);
    for (int i = 0; i < EACH; i++) {
        send_text(work->queue, "work", NULL);
        onceward_delivery *delivery = take(work->subscription);
        OK(onceward_delivery_ack(delivery));
        STATUS(ONCEWARD_INVALID, onceward_delivery_ack(delivery));
        onceward_delivery_free(delivery);
        work->taken++;
    }
    return NULL;
}

static void threads_share_handles(onceward_queue *queue)
{
    pthread_t threads[THREADS];
    struct work work[THREADS];
    onceward_subscription *subscription = NULL;
    OK(onceward_subscription_open(queue, NULL, &subscription));
    for (int i = 0; i < THREADS; i++) {
        work[i].queue = queue;
        work[i].subscription = subscription;
        work[i].taken = 0;
        CHECK(pthread_create(&threads[i], NULL, works, &work[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(work[i].taken == EACH);
    }
    onceward_subscription_free(subscription);
}

/* A handle that threads call on, and whether it has been freed for certain. */
struct freed_meanwhile {
    pthread_mutex_t lock;
    pthread_barrier_t start;
    onceward_subscription *subscription;
    int is_gone;
};

static int is_gone(struct freed_meanwhile *shared)
{
    CHECK(pthread_mutex_lock(&shared->lock) == 0);
    int gone = shared->is_gone;
    CHECK(pthread_mutex_unlock(&shared->lock) == 0);
    return gone;
}

/* Calls until it is told that the handle is gone: which it is, once another call has freed it, and may be before. */
static void *calls_until_it_is_gone(void *given)
{
    struct freed_meanwhile *shared = (struct freed_meanwhile *)given;
    int32_t status = ONCEWARD_OK;
    pthread_barrier_wait(&shared->start);
    while (status == ONCEWARD_OK) {
        int was_gone = is_gone(shared);
        onceward_stats stats;
        status = onceward_subscription_get_stats(shared->subscription, &stats, sizeof stats);
        CHECK(status == ONCEWARD_INVALID || (status == ONCEWARD_OK && !was_gone));
    }
    CHECK(strstr(onceward_error_message(), "it was freed") != NULL);
    return NULL;
}

/* Whoever comes first frees it; the others free nothing, and are told that it is gone. */
static void *frees_it_like_all_others(void *given)
{
    struct freed_meanwhile *shared = (struct freed_meanwhile *)given;
    onceward_stats stats;
    pthread_barrier_wait(&shared->start);
    onceward_subscription_free(shared->subscription);
    STATUS(ONCEWARD_INVALID, onceward_subscription_get_stats(shared->subscription, &stats, sizeof stats));
    return NULL;
}

static void *frees_it_after_a_few_calls(void *given)
{
    struct freed_meanwhile *shared = (struct freed_meanwhile *)given;
    pthread_barrier_wait(&shared->start);
    for (int i = 0; i < EACH; i++) {
        CHECK(counts(shared->subscription).dead == 0);
    }
    onceward_subscription_free(shared->subscription);
    CHECK(pthread_mutex_lock(&shared->lock) == 0);
    shared->is_gone = 1;
    CHECK(pthread_mutex_unlock(&shared->lock) == 0);
    return NULL;
}

/* Runs one function in the first thread and another in the others, with a handle of their own for each round. */
static void in_threads(onceward_queue *queue, void *(*first)(void *), void *(*others)(void *))
{
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t threads[THREADS];
        struct freed_meanwhile shared;
        shared.subscription = NULL;
        shared.is_gone = 0;
        CHECK(pthread_mutex_init(&shared.lock, NULL) == 0);
        CHECK(pthread_barrier_init(&shared.start, NULL, THREADS) == 0);
        OK(onceward_subscription_open(queue, NULL, &shared.subscription));
        for (int i = 0; i < THREADS; i++) {
            CHECK(pthread_create(&threads[i], NULL, i == 0 ? first : others, &shared) == 0);
        }
        for (int i = 0; i < THREADS; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
        }
        CHECK(pthread_barrier_destroy(&shared.start) == 0);
        CHECK(pthread_mutex_destroy(&shared.lock) == 0);
    }
}

struct settling {
    pthread_barrier_t *start;
    onceward_delivery *delivery;
    int way;
    int32_t status;
};

static void *settles(void *given)
{
    struct settling *settling = (struct settling *)given;
    onceward_delivery *delivery = settling->delivery;
    pthread_barrier_wait(settling->start);
    switch (settling->way) {
    case 0:
        settling->status = onceward_delivery_dead_letter(delivery, "poison");
        break;
    case 1:
        settling->status = onceward_delivery_nack(delivery, 0, "failed");
        break;
    case 2:
        settling->status = onceward_delivery_release(delivery);
        break;
    default:
        settling->status = onceward_delivery_ack(delivery);
    }
    return NULL;
}

/* Each round in the same way from every thread, and the last ones in a different way from each. */
static void a_delivery_is_settled_once(onceward_queue *queue)
{
    onceward_subscription *subscription = NULL;
    OK(onceward_subscription_open(queue, NULL, &subscription));
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t threads[THREADS];
        pthread_barrier_t start;
        struct settling settling[THREADS];
        int done = 0;
        CHECK(pthread_barrier_init(&start, NULL, THREADS) == 0);
        send_text(queue, "once", NULL);
        onceward_delivery *delivery = take(subscription);
        for (int i = 0; i < THREADS; i++) {
            settling[i].start = &start;
            settling[i].delivery = delivery;
            settling[i].way = round < ROUNDS / 2 ? round % 4 : i;
            settling[i].status = ONCEWARD_OTHER;
            CHECK(pthread_create(&threads[i], NULL, settles, &settling[i]) == 0);
        }
        for (int i = 0; i < THREADS; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
            CHECK(settling[i].status == ONCEWARD_OK || settling[i].status == ONCEWARD_INVALID);
            done += settling[i].status == ONCEWARD_OK;
        }
        CHECK(done == 1);
        CHECK(onceward_delivery_is_settled(delivery) && counts(subscription).in_flight == 0);
        CHECK(pthread_barrier_destroy(&start) == 0);
        onceward_delivery_free(delivery);
        OK(onceward_queue_purge(queue, NULL));
        OK(onceward_subscription_purge_dead_all(subscription, NULL));
    }
    onceward_subscription_free(subscription);
}

int main(void)
{
    onceward_store *store = NULL;
    onceward_queue *queue = NULL;
    null_is_an_error_everywhere();
    STATUS(ONCEWARD_NOT_FOUND, onceward_store_open("no/such/folder.db", NULL, &store));
    OK(onceward_store_open("hostile.db", NULL, &store));
    OK(onceward_queue_open(store, "jobs", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    freed_and_foreign_handles_are_told_apart(store, queue);
    threads_share_handles(queue);
    in_threads(queue, frees_it_after_a_few_calls, calls_until_it_is_gone);
    in_threads(queue, frees_it_like_all_others, frees_it_like_all_others);
    a_delivery_is_settled_once(queue);
    onceward_queue_free(queue);
    onceward_store_free(store);
    puts("done");
    return 0;
}
