/* One handle of each type, with something behind it; and whether a call is refused for a store that is gone. */
#ifndef EVERYTHING_H
#define EVERYTHING_H

#include "check.h"

struct everything {
    onceward_store *store;
    onceward_queue *queue;
    onceward_subscription *subscription;
    onceward_ledger *ledger;
    onceward_delivery *delivery;
    onceward_batch *batch;
    onceward_consumer *consumer;
    onceward_readiness *readiness;
    onceward_transaction *transaction;
    onceward_rows *rows;
    onceward_effect *call;
    onceward_effect *other_call;
    onceward_effect *question;
    onceward_bytes *result;
    onceward_names *names;
    onceward_messages *messages;
    onceward_dead_letters *letters;
    onceward_doubts *doubts;
    onceward_resolutions *resolutions;
    uint64_t dead;
    uint64_t doubt;
};

static inline onceward_effect *begun(const onceward_ledger *ledger, const char *key, int32_t on_unknown, int32_t expected)
{
    onceward_once_options options = once_options(on_unknown);
    onceward_effect *effect = NULL;
    int32_t todo = -1;
    options.settle_ms = on_unknown == ONCEWARD_PROBE ? 1 : 0;
    OK(onceward_ledger_once_begin(ledger, key, &options, &todo, &effect, NULL));
    CHECK(todo == expected);
    return effect;
}

/* One effect is resolved, one is in doubt, one is asked about, and two are under way. */
static inline void begin_effects(struct everything *all)
{
    onceward_once_options park = once_options(ONCEWARD_PARK);
    onceward_effect *effect = NULL;
    onceward_doubt_view view;
    int32_t todo = -1;
    OK(onceward_ledger_open(all->store, "calls", NULL, &all->ledger));
    onceward_effect_free(begun(all->ledger, "resolved", ONCEWARD_PARK, ONCEWARD_TODO_CALL));
    onceward_effect_free(begun(all->ledger, "doubted", ONCEWARD_PARK, ONCEWARD_TODO_CALL));
    OK(onceward_store_in_doubt(all->store, 0, 10, &all->doubts));
    CHECK(onceward_doubts_count(all->doubts) == 2);
    OK(onceward_doubts_get(all->doubts, 1, &view, sizeof view));
    all->doubt = view.doubt;
    OK(onceward_doubts_get(all->doubts, 0, &view, sizeof view));
    OK(onceward_store_resolve(all->store, view.doubt, ONCEWARD_APPLIED, "7", 1, "the ledger says so", "the bank"));
    OK(onceward_store_resolutions(all->store, 0, 10, &all->resolutions));
    CHECK(onceward_resolutions_count(all->resolutions) == 1);
    OK(onceward_ledger_once_begin(all->ledger, "resolved", &park, &todo, &effect, &all->result));
    CHECK(todo == ONCEWARD_TODO_NOTHING && effect == NULL && all->result != NULL);
    onceward_effect_free(begun(all->ledger, "asked", ONCEWARD_PROBE, ONCEWARD_TODO_CALL));
    all->question = begun(all->ledger, "asked", ONCEWARD_PROBE, ONCEWARD_TODO_PROBE);
    all->call = begun(all->ledger, "called", ONCEWARD_PARK, ONCEWARD_TODO_CALL);
    all->other_call = begun(all->ledger, "called too", ONCEWARD_PARK, ONCEWARD_TODO_CALL);
}

static inline struct everything everything_in(const char *path)
{
    struct everything all;
    onceward_delivery *delivery = NULL;
    onceward_receive_options two;
    memset(&all, 0, sizeof all);
    memset(&two, 0, sizeof two);
    two.size = sizeof two;
    two.max = 2;
    OK(onceward_store_open(path, NULL, &all.store));
    OK(onceward_queue_open(all.store, "jobs", ONCEWARD_AT_LEAST_ONCE, NULL, &all.queue));
    OK(onceward_subscription_open(all.queue, NULL, &all.subscription));
    all.dead = send_text(all.queue, "dead", NULL);
    delivery = take(all.subscription);
    OK(onceward_delivery_dead_letter(delivery, "poison"));
    onceward_delivery_free(delivery);
    for (int i = 0; i < 5; i++) {
        send_text(all.queue, "work", NULL);
    }
    all.delivery = take(all.subscription);
    OK(onceward_subscription_receive_many(all.subscription, &two, &all.batch));
    CHECK(onceward_batch_count(all.batch) == 2);
    OK(onceward_subscription_peek(all.subscription, 1, &all.messages));
    OK(onceward_subscription_dead_letters(all.subscription, 0, 1, &all.letters));
    OK(onceward_subscription_consume(all.subscription, NULL, &all.consumer));
    OK(onceward_readiness_open(all.subscription, &all.readiness));
    OK(onceward_store_queues(all.store, &all.names));
    begin_effects(&all);
    OK(onceward_store_transaction(all.store, &all.transaction));
    OK(onceward_transaction_query(all.transaction, "SELECT 7 AS seven", NULL, 0, &all.rows));
    OK(onceward_transaction_rollback(all.transaction));
    onceward_transaction_free(all.transaction);
    OK(onceward_store_transaction(all.store, &all.transaction));
    return all;
}

static inline void free_everything(struct everything *all)
{
    onceward_rows_free(all->rows);
    onceward_transaction_free(all->transaction);
    onceward_effect_free(all->call);
    onceward_effect_free(all->other_call);
    onceward_effect_free(all->question);
    onceward_bytes_free(all->result);
    onceward_names_free(all->names);
    onceward_messages_free(all->messages);
    onceward_dead_letters_free(all->letters);
    onceward_doubts_free(all->doubts);
    onceward_resolutions_free(all->resolutions);
    onceward_readiness_free(all->readiness);
    onceward_consumer_free(all->consumer);
    onceward_batch_free(all->batch);
    onceward_delivery_free(all->delivery);
    onceward_ledger_free(all->ledger);
    onceward_subscription_free(all->subscription);
    onceward_queue_free(all->queue);
    onceward_store_free(all->store);
}

#define CLOSED(call) STATUS(ONCEWARD_CLOSED, call)

static inline void calls_of_the_store_are_closed(const struct everything *all)
{
    onceward_names *names = NULL;
    onceward_store_stats stats;
    onceward_transaction *transaction = NULL;
    onceward_doubts *doubts = NULL;
    onceward_resolutions *resolutions = NULL;
    onceward_queue *queue = NULL;
    onceward_ledger *ledger = NULL;
    CLOSED(onceward_store_queues(all->store, &names));
    CLOSED(onceward_store_ledgers(all->store, &names));
    CLOSED(onceward_store_get_stats(all->store, &stats, sizeof stats));
    CLOSED(onceward_store_transaction(all->store, &transaction));
    CLOSED(onceward_store_in_doubt(all->store, 0, 1, &doubts));
    CLOSED(onceward_store_resolve(all->store, all->doubt, ONCEWARD_NOT_APPLIED, NULL, 0, "nothing came", "the bank"));
    CLOSED(onceward_store_resolutions(all->store, 0, 1, &resolutions));
    CLOSED(onceward_queue_open(all->store, "jobs", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    CLOSED(onceward_queue_open(all->store, "new", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    CLOSED(onceward_queue_open_existing(all->store, "jobs", NULL, &queue));
    CLOSED(onceward_ledger_open(all->store, "calls", NULL, &ledger));
    CLOSED(onceward_ledger_open(all->store, "new", NULL, &ledger));
    CHECK(names == NULL && transaction == NULL && doubts == NULL && resolutions == NULL);
    CHECK(queue == NULL && ledger == NULL);
}

static inline void calls_of_the_queue_are_closed(const struct everything *all)
{
    onceward_queue_settings settings;
    onceward_message message = message_of("x", NULL);
    onceward_sent sent;
    onceward_names *names = NULL;
    onceward_subscription *subscription = NULL;
    uint64_t number = 7;
    CLOSED(onceward_queue_get_settings(all->queue, &settings, sizeof settings));
    CLOSED(onceward_queue_send(all->queue, &message, &number));
    CHECK(number == 0);
    CLOSED(onceward_queue_send_many(all->queue, &message, 1, &sent));
    CLOSED(onceward_queue_cancel(all->queue, all->dead));
    CLOSED(onceward_queue_purge(all->queue, &number));
    CLOSED(onceward_queue_pause(all->queue));
    CLOSED(onceward_queue_resume(all->queue));
    CLOSED(onceward_queue_subscriptions(all->queue, &names));
    CLOSED(onceward_queue_unsubscribe(all->queue, "default"));
    CLOSED(onceward_subscription_open(all->queue, NULL, &subscription));
    CLOSED(onceward_subscription_create(all->queue, "new", ONCEWARD_START_NOW, &subscription));
    CHECK(names == NULL && subscription == NULL && strcmp(onceward_queue_name(all->queue), "jobs") == 0);
}

static inline void calls_of_the_subscription_are_closed(const struct everything *all)
{
    onceward_stats stats;
    onceward_messages *messages = NULL;
    onceward_dead_letters *letters = NULL;
    onceward_delivery *delivery = NULL;
    onceward_batch *batch = NULL;
    onceward_readiness *readiness = NULL;
    onceward_receipt receipts[2], lost[2];
    size_t count = 7;
    uint64_t number = 7;
    const onceward_subscription *subscription = all->subscription;
    OK(onceward_batch_receipts(all->batch, receipts, 2));
    CLOSED(onceward_subscription_get_stats(subscription, &stats, sizeof stats));
    CLOSED(onceward_subscription_peek(subscription, 1, &messages));
    CLOSED(onceward_subscription_dead_letters(subscription, 0, 1, &letters));
    CLOSED(onceward_subscription_redrive(subscription, &all->dead, 1, &number));
    CLOSED(onceward_subscription_redrive_all(subscription, &number));
    CLOSED(onceward_subscription_purge_dead(subscription, &all->dead, 1, &number));
    CLOSED(onceward_subscription_purge_dead_all(subscription, &number));
    CHECK(number == 0);
    CLOSED(onceward_subscription_unfinished(subscription, &all->dead, 1, &number, &count));
    CLOSED(onceward_subscription_receive(subscription, 0, &delivery));
    CLOSED(onceward_subscription_receive(subscription, 60000, &delivery));
    CLOSED(onceward_subscription_receive_many(subscription, NULL, &batch));
    CLOSED(onceward_subscription_ack(subscription, receipts, 2, lost, &count));
    CLOSED(onceward_subscription_nack(subscription, receipts, 2, ONCEWARD_BACKOFF, "x", lost, &count));
    CLOSED(onceward_subscription_dead_letter(subscription, receipts, 2, "x", lost, &count));
    CLOSED(onceward_subscription_release(subscription, receipts, 2, lost, &count));
    CLOSED(onceward_subscription_extend(subscription, receipts, 2, 1000, lost, &count));
    CLOSED(onceward_readiness_open(subscription, &readiness));
    CLOSED(onceward_readiness_clear(all->readiness));
    CHECK(count == 0 && messages == NULL && letters == NULL && delivery == NULL && batch == NULL && readiness == NULL);
}

static inline void calls_of_the_delivery_are_closed(const onceward_delivery *delivery)
{
    onceward_once_options park = once_options(ONCEWARD_PARK);
    onceward_transaction *transaction = NULL;
    onceward_effect *effect = NULL;
    onceward_bytes *result = NULL;
    char key[ONCEWARD_IDEMPOTENCY_KEY_SIZE];
    int32_t todo = -1;
    CLOSED(onceward_delivery_idempotency_key(delivery, "charge", key, sizeof key));
    CLOSED(onceward_delivery_ack(delivery));
    CLOSED(onceward_delivery_nack(delivery, 0, "x"));
    CLOSED(onceward_delivery_dead_letter(delivery, "x"));
    CLOSED(onceward_delivery_release(delivery));
    CLOSED(onceward_delivery_extend(delivery, 1000));
    CLOSED(onceward_delivery_transaction(delivery, &transaction));
    CLOSED(onceward_delivery_once(delivery, "x", &park, unreachable, NULL, NULL, &result));
    CLOSED(onceward_delivery_once_begin(delivery, "x", &park, &todo, &effect, &result));
    CHECK(todo == ONCEWARD_TODO_NOTHING && transaction == NULL && effect == NULL && result == NULL);
    CHECK(!onceward_delivery_is_settled(delivery));
}

static inline void calls_of_the_rest_are_closed(const struct everything *all)
{
    onceward_once_options park = once_options(ONCEWARD_PARK);
    onceward_message message = message_of("x", NULL);
    onceward_value value = integer_value(7);
    onceward_receipt receipts[2];
    onceward_delivery *delivery = NULL;
    onceward_effect *effect = NULL;
    onceward_bytes *result = NULL;
    onceward_rows *rows = NULL;
    uint64_t number = 7;
    int32_t todo = -1;
    char key[ONCEWARD_IDEMPOTENCY_KEY_SIZE];
    CLOSED(onceward_ledger_idempotency_key(all->ledger, "charge", key, sizeof key));
    OK(onceward_batch_receipts(all->batch, receipts, 2));
    CLOSED(onceward_transaction_execute(all->transaction, "CREATE TABLE t(x)", NULL, 0, &number));
    CLOSED(onceward_transaction_execute_many(all->transaction, "INSERT INTO t VALUES (?)", &value, 1, 1, &number));
    CLOSED(onceward_transaction_query(all->transaction, "SELECT 1", NULL, 0, &rows));
    CLOSED(onceward_transaction_send(all->transaction, all->queue, &message, &number));
    CLOSED(onceward_transaction_ack(all->transaction, all->subscription, receipts, 2));
    CLOSED(onceward_transaction_commit(all->transaction));
    CLOSED(onceward_ledger_once(all->ledger, "x", &park, unreachable, NULL, NULL, &result));
    CLOSED(onceward_ledger_once_begin(all->ledger, "x", &park, &todo, &effect, &result));
    CLOSED(onceward_effect_ended(all->call, ONCEWARD_CALL_DONE, "7", 1));
    CLOSED(onceward_effect_not_called(all->other_call));
    CLOSED(onceward_effect_probed(all->question, ONCEWARD_PROBE_APPLIED, "7", 1, &todo, &result));
    CLOSED(onceward_consumer_receive(all->consumer, 0, &delivery));
    CHECK(number == 0 && todo == ONCEWARD_TODO_NOTHING);
    CHECK(rows == NULL && delivery == NULL && effect == NULL && result == NULL);
}

static inline void every_call_is_closed(const struct everything *all)
{
    onceward_delivery *member = NULL;
    calls_of_the_store_are_closed(all);
    calls_of_the_queue_are_closed(all);
    calls_of_the_subscription_are_closed(all);
    calls_of_the_delivery_are_closed(all->delivery);
    OK(onceward_batch_delivery(all->batch, 1, &member));
    calls_of_the_delivery_are_closed(member);
    onceward_delivery_free(member);
    calls_of_the_rest_are_closed(all);
}

/* What was brought into memory can be looked at, whatever became of the store. */
static inline void what_was_received_can_be_seen(const struct everything *all)
{
    onceward_message_view message;
    onceward_dead_letter_view why;
    onceward_doubt_view doubt;
    onceward_resolution_view answer;
    onceward_value value;
    onceward_subscription *subscription = NULL;
    int32_t descriptor = -1;
    OK(onceward_delivery_get(all->delivery, &message, sizeof message));
    CHECK(body_is(&message, "work"));
    OK(onceward_batch_get(all->batch, 1, &message, sizeof message));
    CHECK(body_is(&message, "work"));
    OK(onceward_messages_get(all->messages, 0, &message, sizeof message));
    CHECK(body_is(&message, "work"));
    OK(onceward_dead_letters_get(all->letters, 0, &message, sizeof message));
    CHECK(body_is(&message, "dead"));
    OK(onceward_dead_letters_why(all->letters, 0, &why, sizeof why));
    CHECK(strcmp(why.reason, "poison") == 0);
    OK(onceward_doubts_get(all->doubts, 1, &doubt, sizeof doubt));
    CHECK(strcmp(doubt.name, "doubted") == 0);
    OK(onceward_resolutions_get(all->resolutions, 0, &doubt, sizeof doubt));
    OK(onceward_resolutions_answer(all->resolutions, 0, &answer, sizeof answer));
    CHECK(strcmp(doubt.name, "resolved") == 0 && strcmp(answer.actor, "the bank") == 0);
    OK(onceward_rows_get(all->rows, 0, 0, &value));
    CHECK(value.integer == 7 && strcmp(onceward_rows_column_name(all->rows, 0), "seven") == 0);
    CHECK(strcmp(onceward_names_get(all->names, 0), "jobs") == 0 && onceward_bytes_size(all->result) == 1);
    OK(onceward_readiness_descriptor(all->readiness, &descriptor));
    CHECK(descriptor > 2);
    OK(onceward_delivery_subscription(all->delivery, &subscription));
    onceward_subscription_free(subscription);
}

#endif
