/* Calls at a third party: made once, failed, in doubt, probed, resolved; in a delivery and in a ledger. */
#include "check.h"

struct bank {
    int calls;
    int probes;
    int32_t call_returns;
    int32_t probe_returns;
    const char *words;
    onceward_outcome *kept;
};

static int32_t charge(void *context, onceward_outcome *outcome)
{
    struct bank *bank = (struct bank *)context;
    bank->calls++;
    bank->kept = outcome;
    OK(onceward_outcome_set(outcome, "never seen", 10));
    OK(onceward_outcome_set(outcome, bank->words, strlen(bank->words)));
    return bank->call_returns;
}

static int32_t look(void *context, onceward_outcome *outcome)
{
    struct bank *bank = (struct bank *)context;
    bank->probes++;
    OK(onceward_outcome_set(outcome, bank->words, strlen(bank->words)));
    return bank->probe_returns;
}

static struct bank bank_that(int32_t returns, const char *words)
{
    struct bank bank;
    memset(&bank, 0, sizeof bank);
    bank.call_returns = returns;
    bank.words = words;
    return bank;
}

static int bytes_are(onceward_bytes *bytes, const char *text)
{
    int same = onceward_bytes_size(bytes) == strlen(text) && strcmp((const char *)onceward_bytes_data(bytes), text) == 0;
    onceward_bytes_free(bytes);
    return same;
}

static void a_result_is_kept(const onceward_queue *queue, const onceward_subscription *subscription)
{
    onceward_once_options park = once_options(ONCEWARD_PARK);
    struct bank bank = bank_that(ONCEWARD_CALL_FAILED, "no connection");
    onceward_bytes *result = NULL;
    char key[ONCEWARD_IDEMPOTENCY_KEY_SIZE], again[ONCEWARD_IDEMPOTENCY_KEY_SIZE];
    send_text(queue, "1999", "kept");
    onceward_delivery *delivery = take(subscription);
    OK(onceward_delivery_idempotency_key(delivery, "charge", key, sizeof key));
    STATUS(ONCEWARD_INVALID, onceward_delivery_idempotency_key(delivery, "charge", again, sizeof again - 1));
    STATUS(ONCEWARD_FAILED, onceward_delivery_once(delivery, "charge", &park, charge, NULL, &bank, &result));
    CHECK(result == NULL && strstr(onceward_error_message(), "no connection") != NULL);
    STATUS(ONCEWARD_INVALID, onceward_outcome_set(bank.kept, "late", 4));
    OK(onceward_delivery_nack(delivery, 0, "failed"));
    onceward_delivery_free(delivery);

    delivery = take(subscription);
    bank.call_returns = ONCEWARD_CALL_DONE;
    bank.words = "receipt 7";
    OK(onceward_delivery_once(delivery, "charge", &park, charge, NULL, &bank, &result));
    CHECK(bytes_are(result, "receipt 7") && bank.calls == 2);
    OK(onceward_delivery_release(delivery));
    onceward_delivery_free(delivery);

    delivery = take(subscription);
    OK(onceward_delivery_once(delivery, "charge", &park, charge, NULL, &bank, &result));
    CHECK(bytes_are(result, "receipt 7") && bank.calls == 2);
    OK(onceward_delivery_idempotency_key(delivery, "charge", again, sizeof again));
    CHECK(strlen(key) == 36 && strcmp(key, again) == 0);
    OK(onceward_delivery_ack(delivery));
    onceward_delivery_free(delivery);
}

static void a_doubt_waits_for_a_person(const onceward_store *store, const onceward_queue *queue,
                                       const onceward_subscription *subscription)
{
    onceward_once_options park = once_options(ONCEWARD_PARK);
    struct bank bank = bank_that(77, "");
    uint64_t id = send_text(queue, "1999", "doubted");
    onceward_delivery *delivery = take(subscription);
    STATUS(ONCEWARD_IN_DOUBT, onceward_delivery_once(delivery, "charge", &park, charge, NULL, &bank, NULL));
    CHECK(strstr(onceward_error_message(), "77") != NULL && onceward_delivery_is_settled(delivery));
    onceward_delivery_free(delivery);
    STATUS(ONCEWARD_EMPTY, onceward_subscription_receive(subscription, 0, &delivery));
    CHECK(counts(subscription).in_doubt == 1);

    onceward_doubts *doubts = NULL;
    onceward_doubt_view doubt;
    OK(onceward_store_in_doubt(store, 0, 10, &doubts));
    CHECK(onceward_doubts_count(doubts) == 1);
    OK(onceward_doubts_get(doubts, 0, &doubt, sizeof doubt));
    CHECK(doubt.message == id && strcmp(doubt.queue, "payments") == 0 && strcmp(doubt.subscription, "default") == 0);
    CHECK(doubt.ledger == NULL && strcmp(doubt.name, "charge") == 0 && strstr(doubt.error, "77") != NULL);
    CHECK(doubt.key != NULL && strcmp(doubt.key, "doubted") == 0);
    CHECK(doubt.since_ms > 0 && doubt.called_at_ms > 0 && doubt.process != 0);
    uint64_t number = doubt.doubt;
    onceward_doubts_free(doubts);

    STATUS(ONCEWARD_NOT_FOUND, onceward_store_resolve(store, number + 1, ONCEWARD_APPLIED, "r", 1, "log", "ann"));
    STATUS(ONCEWARD_INVALID, onceward_store_resolve(store, number, ONCEWARD_APPLIED, "r", 1, "", "ann"));
    STATUS(ONCEWARD_INVALID, onceward_store_resolve(store, number, 0, "r", 1, "log", "ann"));
    STATUS(ONCEWARD_INVALID, onceward_store_resolve(store, number, ONCEWARD_NOT_APPLIED, "r", 1, "log", "ann"));
    OK(onceward_store_resolve(store, number, ONCEWARD_APPLIED, "found", 5, "the bank's log", "ann"));
    OK(onceward_store_resolve(store, number, ONCEWARD_APPLIED, "found", 5, "the bank's log", "ann"));
    STATUS(ONCEWARD_CONFLICT, onceward_store_resolve(store, number, ONCEWARD_NOT_APPLIED, NULL, 0, "log", "bob"));

    onceward_resolutions *resolutions = NULL;
    onceward_resolution_view answer;
    OK(onceward_store_resolutions(store, 0, 10, &resolutions));
    CHECK(onceward_resolutions_count(resolutions) == 1);
    OK(onceward_resolutions_get(resolutions, 0, &doubt, sizeof doubt));
    OK(onceward_resolutions_answer(resolutions, 0, &answer, sizeof answer));
    CHECK(doubt.doubt == number && answer.resolution == ONCEWARD_APPLIED && answer.result_size == 5);
    CHECK(strcmp((const char *)answer.result, "found") == 0 && strcmp(answer.evidence, "the bank's log") == 0);
    CHECK(strcmp(answer.actor, "ann") == 0 && answer.resolved_at_ms > 0);
    onceward_resolutions_free(resolutions);

    onceward_bytes *result = NULL;
    delivery = take(subscription);
    OK(onceward_delivery_once(delivery, "charge", &park, charge, NULL, &bank, &result));
    CHECK(bytes_are(result, "found") && bank.calls == 1);
    OK(onceward_delivery_ack(delivery));
    onceward_delivery_free(delivery);
}

static void a_probe_is_asked(const onceward_queue *queue, const onceward_subscription *subscription)
{
    onceward_once_options probe = once_options(ONCEWARD_PROBE);
    probe.settle_ms = 1;
    struct bank bank = bank_that(ONCEWARD_CALL_UNKNOWN, "timed out");
    onceward_bytes *result = NULL;
    send_text(queue, "1999", "probed");
    onceward_delivery *delivery = take(subscription);
    STATUS(ONCEWARD_IN_DOUBT, onceward_delivery_once(delivery, "charge", &probe, charge, look, &bank, &result));
    CHECK(result == NULL && bank.probes == 0);
    onceward_delivery_free(delivery);

    delivery = take(subscription);
    bank.probe_returns = ONCEWARD_PROBE_APPLIED;
    bank.words = "looked up";
    OK(onceward_delivery_once(delivery, "charge", &probe, charge, look, &bank, &result));
    CHECK(bytes_are(result, "looked up") && bank.calls == 1 && bank.probes == 1);
    OK(onceward_delivery_ack(delivery));
    onceward_delivery_free(delivery);
}

static void bad_options_are_refused(const onceward_queue *queue, const onceward_subscription *subscription)
{
    struct bank bank = bank_that(ONCEWARD_CALL_DONE, "");
    onceward_once_options none = once_options(0), park = once_options(ONCEWARD_PARK), probe = once_options(ONCEWARD_PROBE);
    send_text(queue, "1999", "refused");
    onceward_delivery *delivery = take(subscription);
    STATUS(ONCEWARD_INVALID, onceward_delivery_once(delivery, "charge", NULL, charge, NULL, &bank, NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_once(delivery, "charge", &none, charge, NULL, &bank, NULL));
    CHECK(strstr(onceward_error_message(), "no default") != NULL);
    STATUS(ONCEWARD_INVALID, onceward_delivery_once(delivery, "charge", &park, charge, look, &bank, NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_once(delivery, "charge", &probe, charge, look, &bank, NULL));
    probe.settle_ms = 1;
    STATUS(ONCEWARD_INVALID, onceward_delivery_once(delivery, "charge", &probe, charge, NULL, &bank, NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_once(delivery, "charge", &park, NULL, NULL, &bank, NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_once(delivery, "", &park, charge, NULL, &bank, NULL));
    park.wait_ms = 5;
    STATUS(ONCEWARD_INVALID, onceward_delivery_once(delivery, "charge", &park, charge, NULL, &bank, NULL));
    CHECK(bank.calls == 0);
    OK(onceward_delivery_ack(delivery));
    onceward_delivery_free(delivery);
}

static void a_ledger_needs_no_message(const onceward_store *store)
{
    onceward_ledger *ledger = NULL;
    onceward_ledger_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.window_ms = ONCEWARD_FOREVER;
    OK(onceward_ledger_open(store, "refunds", &options, &ledger));
    onceward_once_options fail = once_options(ONCEWARD_FAIL);
    fail.request = "19.99";
    fail.request_size = 5;
    struct bank bank = bank_that(ONCEWARD_CALL_DONE, "refund 7");
    onceward_bytes *result = NULL;
    for (int i = 0; i < 2; i++) {
        OK(onceward_ledger_once(ledger, "order-42", &fail, charge, NULL, &bank, &result));
        CHECK(bytes_are(result, "refund 7") && bank.calls == 1);
    }
    fail.request_size = 4;
    STATUS(ONCEWARD_CONFLICT, onceward_ledger_once(ledger, "order-42", &fail, charge, NULL, &bank, &result));
    bank.call_returns = ONCEWARD_CALL_UNKNOWN;
    for (int i = 0; i < 2; i++) {
        STATUS(ONCEWARD_IN_DOUBT, onceward_ledger_once(ledger, "order-43", &fail, charge, NULL, &bank, &result));
        CHECK(bank.calls == 2);
    }
    onceward_doubts *doubts = NULL;
    onceward_doubt_view doubt;
    OK(onceward_store_in_doubt(store, 0, 10, &doubts));
    OK(onceward_doubts_get(doubts, 0, &doubt, sizeof doubt));
    CHECK(doubt.queue == NULL && doubt.message == 0 && strcmp(doubt.ledger, "refunds") == 0);
    CHECK(strcmp(doubt.name, "order-43") == 0 && strcmp(doubt.error, "refund 7") == 0);
    onceward_doubts_free(doubts);
    char key[ONCEWARD_IDEMPOTENCY_KEY_SIZE];
    OK(onceward_ledger_idempotency_key(ledger, "order-42", key, sizeof key));
    CHECK(strlen(key) == 36);
    onceward_names *names = NULL;
    OK(onceward_store_ledgers(store, &names));
    CHECK(onceward_names_count(names) == 1 && strcmp(onceward_names_get(names, 0), "refunds") == 0);
    onceward_names_free(names);
    onceward_ledger_free(ledger);
}

int main(void)
{
    onceward_store *store = NULL;
    onceward_queue *queue = NULL;
    onceward_subscription *subscription = NULL;
    OK(onceward_store_open("once.db", NULL, &store));
    OK(onceward_queue_open(store, "payments", ONCEWARD_EXACTLY_ONCE, NULL, &queue));
    OK(onceward_subscription_open(queue, NULL, &subscription));
    a_result_is_kept(queue, subscription);
    a_doubt_waits_for_a_person(store, queue, subscription);
    a_probe_is_asked(queue, subscription);
    bad_options_are_refused(queue, subscription);
    a_ledger_needs_no_message(store);
    onceward_subscription_free(subscription);
    onceward_queue_free(queue);
    onceward_store_free(store);
    puts("done");
    return 0;
}
