/* Arguments that are no good, with handles that live: each is refused by its name, and nothing has been done. */
#include "everything.h"

#define REFUSED(words, call)                                                                   \
    do {                                                                                       \
        STATUS(ONCEWARD_INVALID, call);                                                        \
        CHECK(strstr(onceward_error_message(), words) != NULL);                                \
    } while (0)

/* Where no number and no structure can stand. */
static void *crooked(void)
{
    static union {
        uint64_t aligned;
        char bytes[4096];
    } room;
    return room.bytes + 1;
}

/* What would show that a call has done something after all. */
struct state {
    onceward_stats stats;
    onceward_store_stats whole;
    onceward_queue_settings settings;
    size_t queues, ledgers, subscriptions, doubts, resolutions;
};

static size_t how_many(onceward_names *names)
{
    size_t count = onceward_names_count(names);
    onceward_names_free(names);
    return count;
}

static struct state state_of(const struct everything *all)
{
    struct state state;
    onceward_names *names = NULL;
    onceward_doubts *doubts = NULL;
    onceward_resolutions *resolutions = NULL;
    state.stats = counts(all->subscription);
    OK(onceward_store_get_stats(all->store, &state.whole, sizeof state.whole));
    OK(onceward_queue_get_settings(all->queue, &state.settings, sizeof state.settings));
    OK(onceward_store_queues(all->store, &names));
    state.queues = how_many(names);
    OK(onceward_store_ledgers(all->store, &names));
    state.ledgers = how_many(names);
    OK(onceward_queue_subscriptions(all->queue, &names));
    state.subscriptions = how_many(names);
    OK(onceward_store_in_doubt(all->store, 0, 100, &doubts));
    state.doubts = onceward_doubts_count(doubts);
    onceward_doubts_free(doubts);
    OK(onceward_store_resolutions(all->store, 0, 100, &resolutions));
    state.resolutions = onceward_resolutions_count(resolutions);
    onceward_resolutions_free(resolutions);
    return state;
}

static void nothing_has_changed(const struct everything *all, const struct state *before)
{
    struct state now = state_of(all);
    CHECK(now.stats.ready == before->stats.ready && now.stats.delayed == before->stats.delayed);
    CHECK(now.stats.in_flight == before->stats.in_flight && now.stats.dead == before->stats.dead);
    CHECK(now.whole.queues == before->whole.queues && now.whole.in_doubt == before->whole.in_doubt);
    CHECK(now.settings.is_paused == before->settings.is_paused && now.settings.lease_ms == before->settings.lease_ms);
    CHECK(now.queues == before->queues && now.ledgers == before->ledgers);
    CHECK(now.subscriptions == before->subscriptions);
    CHECK(now.doubts == before->doubts && now.resolutions == before->resolutions);
    CHECK(!onceward_delivery_is_settled(all->delivery));
}

static void null_is_no_argument_of_a_store(const struct everything *all)
{
    const onceward_store *store = all->store;
    onceward_store *opened = NULL;
    onceward_queue *queue = NULL;
    onceward_ledger *ledger = NULL;
    onceward_message message = message_of("x", NULL);
    REFUSED("path is NULL", onceward_store_open(NULL, NULL, &opened));
    REFUSED("output store is NULL", onceward_store_open("null.db", NULL, NULL));
    REFUSED("output names is NULL", onceward_store_queues(store, NULL));
    REFUSED("output names is NULL", onceward_store_ledgers(store, NULL));
    REFUSED("output stats is NULL", onceward_store_get_stats(store, NULL, sizeof(onceward_store_stats)));
    REFUSED("output transaction is NULL", onceward_store_transaction(store, NULL));
    REFUSED("output doubts is NULL", onceward_store_in_doubt(store, 0, 1, NULL));
    REFUSED("output resolutions is NULL", onceward_store_resolutions(store, 0, 1, NULL));
    REFUSED("result is NULL", onceward_store_resolve(store, all->doubt, ONCEWARD_APPLIED, NULL, 1, "seen", "us"));
    REFUSED("evidence is NULL", onceward_store_resolve(store, all->doubt, ONCEWARD_APPLIED, "7", 1, NULL, "us"));
    REFUSED("actor is NULL", onceward_store_resolve(store, all->doubt, ONCEWARD_APPLIED, "7", 1, "seen", NULL));
    REFUSED("name is NULL", onceward_queue_open(store, NULL, ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    REFUSED("output queue is NULL", onceward_queue_open(store, "new", ONCEWARD_AT_LEAST_ONCE, NULL, NULL));
    REFUSED("name is NULL", onceward_queue_open_existing(store, NULL, NULL, &queue));
    REFUSED("output queue is NULL", onceward_queue_open_existing(store, "jobs", NULL, NULL));
    REFUSED("name is NULL", onceward_ledger_open(store, NULL, NULL, &ledger));
    REFUSED("output ledger is NULL", onceward_ledger_open(store, "new", NULL, NULL));
    CHECK(opened == NULL && queue == NULL && ledger == NULL);

    onceward_queue_options options;
    const char *names[1] = {NULL};
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.subscription_count = 1;
    REFUSED("subscriptions is NULL", onceward_queue_open(store, "new", ONCEWARD_AT_LEAST_ONCE, &options, &queue));
    options.subscriptions = names;
    REFUSED("name is NULL", onceward_queue_open(store, "new", ONCEWARD_AT_LEAST_ONCE, &options, &queue));
    REFUSED("onceward_queue is NULL", onceward_transaction_send(all->transaction, NULL, &message, NULL));
    REFUSED("message is NULL", onceward_transaction_send(all->transaction, all->queue, NULL, NULL));
}

static void null_is_no_argument_of_a_queue(const struct everything *all)
{
    const onceward_queue *queue = all->queue;
    onceward_subscription *subscription = NULL;
    onceward_message message = message_of("x", NULL);
    onceward_header header;
    memset(&header, 0, sizeof header);
    REFUSED("output settings is NULL", onceward_queue_get_settings(queue, NULL, sizeof(onceward_queue_settings)));
    REFUSED("message is NULL", onceward_queue_send(queue, NULL, NULL));
    REFUSED("messages are NULL", onceward_queue_send_many(queue, NULL, 1, NULL));
    REFUSED("output names is NULL", onceward_queue_subscriptions(queue, NULL));
    REFUSED("name is NULL", onceward_queue_unsubscribe(queue, NULL));
    REFUSED("output subscription is NULL", onceward_subscription_open(queue, NULL, NULL));
    REFUSED("name is NULL", onceward_subscription_create(queue, NULL, ONCEWARD_START_NOW, &subscription));
    REFUSED("output subscription is NULL", onceward_subscription_create(queue, "new", ONCEWARD_START_NOW, NULL));
    message.body = NULL;
    REFUSED("body is NULL", onceward_queue_send(queue, &message, NULL));
    message = message_of("x", NULL);
    message.header_count = 1;
    REFUSED("headers is NULL", onceward_queue_send(queue, &message, NULL));
    message.headers = &header;
    REFUSED("header's name is NULL", onceward_queue_send(queue, &message, NULL));
    header.name = "h";
    header.value_size = 1;
    REFUSED("header's value is NULL", onceward_queue_send_many(queue, &message, 1, NULL));
    CHECK(subscription == NULL);
}

static void null_is_no_argument_of_a_subscription(const struct everything *all)
{
    const onceward_subscription *subscription = all->subscription;
    onceward_receipt receipts[2];
    uint64_t number = 7;
    size_t count = 7;
    OK(onceward_batch_receipts(all->batch, receipts, 2));
    REFUSED("output stats is NULL", onceward_subscription_get_stats(subscription, NULL, sizeof(onceward_stats)));
    REFUSED("output messages is NULL", onceward_subscription_peek(subscription, 1, NULL));
    REFUSED("output letters is NULL", onceward_subscription_dead_letters(subscription, 0, 1, NULL));
    REFUSED("messages is NULL", onceward_subscription_redrive(subscription, NULL, 1, &number));
    REFUSED("messages is NULL", onceward_subscription_purge_dead(subscription, NULL, 1, &number));
    REFUSED("messages is NULL", onceward_subscription_unfinished(subscription, NULL, 1, &number, &count));
    REFUSED("output unfinished is NULL", onceward_subscription_unfinished(subscription, &all->dead, 1, NULL, &count));
    REFUSED("output unfinished_count is NULL",
            onceward_subscription_unfinished(subscription, &all->dead, 1, &number, NULL));
    REFUSED("output delivery is NULL", onceward_subscription_receive(subscription, 0, NULL));
    REFUSED("output batch is NULL", onceward_subscription_receive_many(subscription, NULL, NULL));
    REFUSED("receipts is NULL", onceward_subscription_ack(subscription, NULL, 2, NULL, NULL));
    REFUSED("receipts is NULL", onceward_subscription_nack(subscription, NULL, 2, 0, "x", NULL, NULL));
    REFUSED("receipts is NULL", onceward_subscription_dead_letter(subscription, NULL, 2, "x", NULL, NULL));
    REFUSED("reason is NULL", onceward_subscription_dead_letter(subscription, receipts, 2, NULL, NULL, NULL));
    REFUSED("receipts is NULL", onceward_subscription_release(subscription, NULL, 2, NULL, NULL));
    REFUSED("receipts is NULL", onceward_subscription_extend(subscription, NULL, 2, 1000, NULL, NULL));
    REFUSED("onceward_subscription is NULL", onceward_transaction_ack(all->transaction, NULL, receipts, 2));
    REFUSED("receipts is NULL", onceward_transaction_ack(all->transaction, subscription, NULL, 2));
    REFUSED("output readiness is NULL", onceward_readiness_open(subscription, NULL));
    REFUSED("output descriptor is NULL", onceward_readiness_descriptor(all->readiness, NULL));
    REFUSED("output consumer is NULL", onceward_subscription_consume(subscription, NULL, NULL));
    REFUSED("output delivery is NULL", onceward_consumer_receive(all->consumer, 0, NULL));
}

static void null_is_no_argument_of_a_delivery(const struct everything *all)
{
    const onceward_delivery *delivery = all->delivery;
    onceward_once_options park = once_options(ONCEWARD_PARK);
    onceward_effect *effect = NULL;
    char key[ONCEWARD_IDEMPOTENCY_KEY_SIZE];
    int32_t todo = -1;
    REFUSED("output view is NULL", onceward_batch_get(all->batch, 0, NULL, sizeof(onceward_message_view)));
    REFUSED("output delivery is NULL", onceward_batch_delivery(all->batch, 0, NULL));
    REFUSED("output receipts is NULL", onceward_batch_receipts(all->batch, NULL, 2));
    REFUSED("output view is NULL", onceward_delivery_get(delivery, NULL, sizeof(onceward_message_view)));
    REFUSED("reason is NULL", onceward_delivery_dead_letter(delivery, NULL));
    REFUSED("name is NULL", onceward_delivery_idempotency_key(delivery, NULL, key, sizeof key));
    REFUSED("output key is NULL", onceward_delivery_idempotency_key(delivery, "x", NULL, sizeof key));
    REFUSED("output subscription is NULL", onceward_delivery_subscription(delivery, NULL));
    REFUSED("output transaction is NULL", onceward_delivery_transaction(delivery, NULL));
    REFUSED("name is NULL", onceward_delivery_once(delivery, NULL, &park, unreachable, NULL, NULL, NULL));
    REFUSED("options are NULL", onceward_delivery_once(delivery, "x", NULL, unreachable, NULL, NULL, NULL));
    REFUSED("call is NULL", onceward_delivery_once(delivery, "x", &park, NULL, NULL, NULL, NULL));
    REFUSED("name is NULL", onceward_delivery_once_begin(delivery, NULL, &park, &todo, &effect, NULL));
    REFUSED("options are NULL", onceward_delivery_once_begin(delivery, "x", NULL, &todo, &effect, NULL));
    REFUSED("output todo is NULL", onceward_delivery_once_begin(delivery, "x", &park, NULL, &effect, NULL));
    REFUSED("output effect is NULL", onceward_delivery_once_begin(delivery, "x", &park, &todo, NULL, NULL));
    CHECK(effect == NULL);
}

static void null_is_no_argument_of_an_effect(const struct everything *all)
{
    const onceward_ledger *ledger = all->ledger;
    onceward_once_options park = once_options(ONCEWARD_PARK);
    onceward_once_options probe = once_options(ONCEWARD_PROBE);
    onceward_effect *effect = NULL;
    char key[ONCEWARD_IDEMPOTENCY_KEY_SIZE];
    int32_t todo = -1;
    REFUSED("key is NULL", onceward_ledger_once(ledger, NULL, &park, unreachable, NULL, NULL, NULL));
    REFUSED("options are NULL", onceward_ledger_once(ledger, "x", NULL, unreachable, NULL, NULL, NULL));
    REFUSED("call is NULL", onceward_ledger_once(ledger, "x", &park, NULL, NULL, NULL, NULL));
    REFUSED("probe", onceward_ledger_once(ledger, "x", &probe, unreachable, NULL, NULL, NULL));
    park.request_size = 1;
    REFUSED("request is NULL", onceward_ledger_once(ledger, "x", &park, unreachable, NULL, NULL, NULL));
    park.request_size = 0;
    REFUSED("key is NULL", onceward_ledger_once_begin(ledger, NULL, &park, &todo, &effect, NULL));
    REFUSED("options are NULL", onceward_ledger_once_begin(ledger, "x", NULL, &todo, &effect, NULL));
    REFUSED("output todo is NULL", onceward_ledger_once_begin(ledger, "x", &park, NULL, &effect, NULL));
    REFUSED("output effect is NULL", onceward_ledger_once_begin(ledger, "x", &park, &todo, NULL, NULL));
    REFUSED("key is NULL", onceward_ledger_idempotency_key(ledger, NULL, key, sizeof key));
    REFUSED("output key is NULL", onceward_ledger_idempotency_key(ledger, "x", NULL, sizeof key));
    REFUSED("data is NULL", onceward_effect_ended(all->call, ONCEWARD_CALL_DONE, NULL, 1));
    REFUSED("data is NULL", onceward_effect_probed(all->question, ONCEWARD_PROBE_APPLIED, NULL, 1, &todo, NULL));
    REFUSED("output todo is NULL", onceward_effect_probed(all->question, ONCEWARD_PROBE_APPLIED, "7", 1, NULL, NULL));
    CHECK(effect == NULL);
}

static void null_is_no_argument_of_a_transaction(const struct everything *all)
{
    const onceward_transaction *tx = all->transaction;
    onceward_value blob;
    onceward_rows *rows = NULL;
    memset(&blob, 0, sizeof blob);
    blob.value_type = ONCEWARD_BLOB;
    blob.size = 1;
    REFUSED("SQL is NULL", onceward_transaction_execute(tx, NULL, NULL, 0, NULL));
    REFUSED("parameters is NULL", onceward_transaction_execute(tx, "SELECT ?", NULL, 1, NULL));
    REFUSED("data is NULL", onceward_transaction_execute(tx, "SELECT ?", &blob, 1, NULL));
    REFUSED("SQL is NULL", onceward_transaction_execute_many(tx, NULL, &blob, 1, 1, NULL));
    REFUSED("parameters is NULL", onceward_transaction_execute_many(tx, "SELECT ?", NULL, 1, 1, NULL));
    REFUSED("SQL is NULL", onceward_transaction_query(tx, NULL, NULL, 0, &rows));
    REFUSED("parameters is NULL", onceward_transaction_query(tx, "SELECT ?", NULL, 1, &rows));
    REFUSED("output rows is NULL", onceward_transaction_query(tx, "SELECT 1", NULL, 0, NULL));
    REFUSED("output value is NULL", onceward_rows_get(all->rows, 0, 0, NULL));
    CHECK(rows == NULL);
}

static void null_is_no_argument_of_a_list(const struct everything *all)
{
    REFUSED("output view is NULL", onceward_messages_get(all->messages, 0, NULL, sizeof(onceward_message_view)));
    REFUSED("output view is NULL", onceward_dead_letters_get(all->letters, 0, NULL, sizeof(onceward_message_view)));
    REFUSED("output why is NULL", onceward_dead_letters_why(all->letters, 0, NULL, sizeof(onceward_dead_letter_view)));
    REFUSED("output view is NULL", onceward_doubts_get(all->doubts, 0, NULL, sizeof(onceward_doubt_view)));
    REFUSED("output view is NULL", onceward_resolutions_get(all->resolutions, 0, NULL, sizeof(onceward_doubt_view)));
    REFUSED("output answer is NULL",
            onceward_resolutions_answer(all->resolutions, 0, NULL, sizeof(onceward_resolution_view)));
}

/* An output that no value can stand at is refused before anything is done, like one that is NULL. */
static void outputs_are_checked_first(const struct everything *all)
{
    onceward_message messages[2];
    onceward_receipt receipts[2];
    onceward_once_options park = once_options(ONCEWARD_PARK);
    onceward_effect *effect = NULL;
    size_t count = 7;
    uint64_t number = 7;
    int32_t todo = -1;
    uint64_t *id = (uint64_t *)crooked();
    onceward_receipt *lost = (onceward_receipt *)crooked();
    onceward_bytes **result = (onceward_bytes **)crooked();
    size_t *lost_count = (size_t *)crooked();
    messages[0] = message_of("one", NULL);
    messages[1] = message_of("two", NULL);
    OK(onceward_batch_receipts(all->batch, receipts, 2));
    REFUSED("output sent", onceward_queue_send_many(all->queue, messages, 2, (onceward_sent *)crooked()));
    REFUSED("output id", onceward_queue_send(all->queue, messages, id));
    REFUSED("output id", onceward_transaction_send(all->transaction, all->queue, messages, id));
    REFUSED("output purged", onceward_queue_purge(all->queue, id));
    REFUSED("output changed", onceward_transaction_execute(all->transaction, "CREATE TABLE t(x)", NULL, 0, id));
    REFUSED("output done", onceward_subscription_redrive(all->subscription, &all->dead, 1, id));
    REFUSED("output done", onceward_subscription_redrive_all(all->subscription, id));
    REFUSED("output done", onceward_subscription_purge_dead(all->subscription, &all->dead, 1, id));
    REFUSED("output done", onceward_subscription_purge_dead_all(all->subscription, id));
    REFUSED("output unfinished", onceward_subscription_unfinished(all->subscription, &all->dead, 1, id, &count));
    REFUSED("output unfinished_count",
            onceward_subscription_unfinished(all->subscription, &all->dead, 1, &number, lost_count));
    REFUSED("output receipts", onceward_batch_receipts(all->batch, lost, 2));
    REFUSED("output delivery", onceward_subscription_receive(all->subscription, 0, (onceward_delivery **)crooked()));
    REFUSED("output todo", onceward_ledger_once_begin(all->ledger, "x", &park, (int32_t *)crooked(), &effect, NULL));
    REFUSED("output result", onceward_ledger_once_begin(all->ledger, "x", &park, &todo, &effect, result));
    REFUSED("output result", onceward_ledger_once(all->ledger, "x", &park, unreachable, NULL, NULL, result));
    REFUSED("output result", onceward_delivery_once(all->delivery, "x", &park, unreachable, NULL, NULL, result));
    REFUSED("output result", onceward_effect_probed(all->question, ONCEWARD_PROBE_APPLIED, "7", 1, &todo, result));
    CHECK(number == 7 && effect == NULL);

    /* Of receipts that are lost, too: one has another token than the delivery. */
    const onceward_subscription *subscription = all->subscription;
    receipts[1].token++;
    REFUSED("output lost ", onceward_subscription_ack(subscription, receipts, 2, lost, &count));
    REFUSED("output lost ", onceward_subscription_nack(subscription, receipts, 2, 0, "x", lost, &count));
    REFUSED("output lost ", onceward_subscription_dead_letter(subscription, receipts, 2, "x", lost, &count));
    REFUSED("output lost ", onceward_subscription_release(subscription, receipts, 2, lost, &count));
    REFUSED("output lost ", onceward_subscription_extend(subscription, receipts, 2, 1000, lost, &count));
    REFUSED("output lost_count ", onceward_subscription_ack(subscription, receipts, 2, NULL, lost_count));
}

/* After all of that the handles are as good as new. Where the header says so, NULL is no fault. */
static void null_is_left_out_where_the_header_says_so(const struct everything *all)
{
    onceward_once_options park = once_options(ONCEWARD_PARK);
    onceward_message message = message_of("x", NULL);
    onceward_receipt receipts[2];
    onceward_subscription *subscription = NULL;
    onceward_delivery *delivery = NULL;
    size_t count = 7;
    int32_t todo = -1;
    OK(onceward_batch_receipts(all->batch, receipts, 2));
    OK(onceward_subscription_open(all->queue, NULL, &subscription));
    onceward_subscription_free(subscription);
    OK(onceward_queue_send_many(all->queue, NULL, 0, NULL));
    OK(onceward_queue_send_many(all->queue, &message, 1, NULL));
    message.body = NULL;
    message.body_size = 0;
    OK(onceward_queue_send(all->queue, &message, NULL));
    OK(onceward_subscription_unfinished(all->subscription, NULL, 0, NULL, &count));
    CHECK(count == 0);
    OK(onceward_subscription_ack(all->subscription, NULL, 0, NULL, NULL));
    OK(onceward_subscription_nack(all->subscription, receipts, 1, 0, NULL, NULL, NULL));
    OK(onceward_transaction_execute(all->transaction, "CREATE TABLE t(x)", NULL, 0, NULL));
    OK(onceward_transaction_send(all->transaction, all->queue, &message, NULL));
    OK(onceward_transaction_ack(all->transaction, all->subscription, NULL, 0));
    OK(onceward_transaction_rollback(all->transaction));
    OK(onceward_effect_probed(all->question, ONCEWARD_PROBE_APPLIED, NULL, 0, &todo, NULL));
    OK(onceward_effect_ended(all->call, ONCEWARD_CALL_DONE, NULL, 0));
    OK(onceward_ledger_once(all->ledger, "called", &park, unreachable, NULL, NULL, NULL));
    OK(onceward_store_resolve(all->store, all->doubt, ONCEWARD_APPLIED, NULL, 0, "seen", "us"));
    delivery = take(all->subscription);
    OK(onceward_delivery_nack(delivery, 0, NULL));
    onceward_delivery_free(delivery);
    OK(onceward_subscription_redrive(all->subscription, NULL, 0, NULL));
    OK(onceward_subscription_redrive_all(all->subscription, NULL));
    OK(onceward_subscription_purge_dead(all->subscription, NULL, 0, NULL));
    OK(onceward_subscription_purge_dead_all(all->subscription, NULL));
    OK(onceward_queue_purge(all->queue, NULL));
    CHECK(counts(all->subscription).ready == 0 && counts(all->subscription).dead == 0);
    OK(onceward_delivery_ack(all->delivery));
}

int main(void)
{
    struct everything all = everything_in("arguments.db");
    struct state before = state_of(&all);
    null_is_no_argument_of_a_store(&all);
    null_is_no_argument_of_a_queue(&all);
    null_is_no_argument_of_a_subscription(&all);
    null_is_no_argument_of_a_delivery(&all);
    null_is_no_argument_of_an_effect(&all);
    null_is_no_argument_of_a_transaction(&all);
    null_is_no_argument_of_a_list(&all);
    outputs_are_checked_first(&all);
    nothing_has_changed(&all, &before);
    null_is_left_out_where_the_header_says_so(&all);
    free_everything(&all);
    puts("done");
    return 0;
}
