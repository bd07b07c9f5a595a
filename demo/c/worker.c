/* One worker process, as webhooks/worker.py: worker JOB... The effect of a webhook is a line in the journal, or, for exactly-once, a
 * row of the application in the same transaction as the acknowledgement. */
#include "child.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WORK_MS_MAX 6.0
#define IDLE_MS 100
#define BATCH_MAX 64
#define ACK_BEFORE_EFFECT "ack-before-effect"
#define EFFECT_APART "effect-apart"

static const char CREATE_TABLE[] = "CREATE TABLE IF NOT EXISTS webhook_event ("
                                   "    guid       TEXT NOT NULL,"
                                   "    event      TEXT NOT NULL,"
                                   "    repository TEXT,"
                                   "    body       BLOB NOT NULL,"
                                   "    worker     TEXT NOT NULL"
                                   ") STRICT";
static const char INSERT_ROW[] = "INSERT INTO webhook_event (guid, event, repository, body, worker) "
                                 "VALUES (?1, ?2, json_extract(CAST(?3 AS TEXT), '$.repository.full_name'), ?3, ?4)";

struct worker {
    struct job job;
    onceward_store *store;
    onceward_subscription *subscription;
};

/* One message in hand. */
struct work {
    onceward_delivery *delivery;
    onceward_message_view message;
    char guid[GUID_SIZE];
    char event[GUID_SIZE];
};

static onceward_value value(int32_t type, const void *data, size_t size)
{
    onceward_value value;
    memset(&value, 0, sizeof value);
    value.value_type = type;
    value.data = data;
    value.size = size;
    return value;
}

static void header(const onceward_message_view *message, const char *name, char text[GUID_SIZE])
{
    size_t i;
    for (i = 0; i < message->header_count; i++) {
        const onceward_header *header = &message->headers[i];
        if (strcmp(header->name, name) == 0) {
            snprintf(text, GUID_SIZE, "%.*s", (int)header->value_size, (const char *)header->value);
            return;
        }
    }
    fail(name, "the message has no such header");
}

static void applied(const struct work *work)
{
    char digest[65];
    sha256(work->message.body, work->message.body_size, digest);
    write_journal("applied", work->guid, digest, NULL);
    pass_point("after-effect");
}

static void insert_row(const struct worker *worker, const struct work *work, onceward_transaction *transaction)
{
    onceward_value row[4];
    row[0] = value(ONCEWARD_TEXT, work->guid, strlen(work->guid));
    row[1] = value(ONCEWARD_TEXT, work->event, strlen(work->event));
    row[2] = value(ONCEWARD_BLOB, work->message.body, work->message.body_size);
    row[3] = value(ONCEWARD_TEXT, worker->job.name, strlen(worker->job.name));
    check(onceward_transaction_execute(transaction, INSERT_ROW, row, 4, NULL), "insert");
}

/* The effect is the line itself; then the message is acknowledged. */
static void write_line(const struct worker *worker, const struct work *work)
{
    applied(work);
    if (!is_sabotage(&worker->job, ACK_BEFORE_EFFECT)) {
        check(onceward_delivery_ack(work->delivery), "ack");
    }
}

/* The effect is a row, committed together with the acknowledgement. */
static void write_row(const struct worker *worker, const struct work *work)
{
    onceward_transaction *transaction = NULL;
    if (!is_sabotage(&worker->job, ACK_BEFORE_EFFECT) && !is_sabotage(&worker->job, EFFECT_APART)) {
        check(onceward_delivery_transaction(work->delivery, &transaction), "transaction");
        insert_row(worker, work, transaction);
        applied(work);
        check(onceward_transaction_commit(transaction), "commit");
        onceward_transaction_free(transaction);
        return;
    }
    check(onceward_store_transaction(worker->store, &transaction), "transaction");
    insert_row(worker, work, transaction);
    check(onceward_transaction_commit(transaction), "commit");
    onceward_transaction_free(transaction);
    applied(work);
    if (is_sabotage(&worker->job, EFFECT_APART)) {
        check(onceward_delivery_ack(work->delivery), "ack");
    }
}

static void handle(struct worker *worker, onceward_delivery *delivery)
{
    struct work work;
    char id[32];
    char attempt[16];
    work.delivery = delivery;
    check(onceward_delivery_get(delivery, &work.message, sizeof work.message), "view");
    header(&work.message, "x-github-delivery", work.guid);
    header(&work.message, "x-github-event", work.event);
    snprintf(id, sizeof id, "%" PRIu64, work.message.id);
    snprintf(attempt, sizeof attempt, "%" PRIu32, work.message.attempt);
    write_journal("taken", work.guid, id, attempt, NULL);
    if (is_sabotage(&worker->job, ACK_BEFORE_EFFECT)) {
        check(onceward_delivery_ack(delivery), "ack");
    }
    pause_ms(random_number(&worker->job) * WORK_MS_MAX);
    pass_point("before-effect");
    if (worker->job.semantics == ONCEWARD_EXACTLY_ONCE) {
        write_row(worker, &work);
    } else {
        write_line(worker, &work);
    }
    write_journal("finished", work.guid, NULL);
    tell("step");
}

/* Takes a batch, if one comes in time, and works on it. Each message of it is acknowledged by itself. */
static void work_on_a_batch(struct worker *worker)
{
    onceward_receive_options options;
    onceward_batch *batch = NULL;
    int32_t status;
    size_t i;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.max = worker->job.batch;
    options.wait_ms = IDLE_MS;
    status = onceward_subscription_receive_many(worker->subscription, &options, &batch);
    if (status == ONCEWARD_EMPTY) {
        return;
    }
    check(status, "receive");
    for (i = 0; i < onceward_batch_count(batch); i++) {
        onceward_delivery *delivery = NULL;
        check(onceward_batch_delivery(batch, i, &delivery), "delivery");
        may_begin();
        handle(worker, delivery);
        onceward_delivery_free(delivery);
    }
    onceward_batch_free(batch);
}

static int everything_is_done(const struct worker *worker)
{
    onceward_stats stats;
    char path[PATH_SIZE];
    /* In this order: a message that was sent before the file appeared is seen by the statistics. */
    path_in(&worker->job, "input-complete", "", path);
    if (access(path, F_OK) != 0) {
        return 0;
    }
    check(onceward_subscription_get_stats(worker->subscription, &stats, sizeof stats), "statistics");
    return stats.ready + stats.delayed + stats.blocked + stats.in_flight == 0;
}

static void create_table(onceward_store *store)
{
    onceward_transaction *transaction = NULL;
    check(onceward_store_transaction(store, &transaction), "transaction");
    check(onceward_transaction_execute(transaction, CREATE_TABLE, NULL, 0, NULL), "create");
    check(onceward_transaction_commit(transaction), "commit");
    onceward_transaction_free(transaction);
}

int main(int count, char **arguments)
{
    struct worker worker;
    onceward_queue *queue = NULL;
    worker.job = read_job(count, arguments);
    worker.subscription = NULL;
    open_journal(&worker.job);
    worker.store = open_store(&worker.job);
    check(onceward_queue_open(worker.store, QUEUE, worker.job.semantics, NULL, &queue), "queue");
    check(onceward_subscription_open(queue, NULL, &worker.subscription), "subscription");
    if (worker.job.semantics == ONCEWARD_EXACTLY_ONCE) {
        create_table(worker.store);
    }
    write_journal("opened", "c", onceward_version(), NULL);
    tell("ready");
    while (!everything_is_done(&worker)) {
        look_for_the_supervisor();
        work_on_a_batch(&worker);
    }
    onceward_subscription_free(worker.subscription);
    onceward_queue_free(queue);
    check(onceward_store_close(worker.store), "close");
    onceward_store_free(worker.store);
    return 0;
}
