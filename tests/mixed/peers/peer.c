/* The peer in C: peer FILE BUSY_MS does what it is told on its standard input, a line each. See ../README.md. */
#include <onceward.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define QUEUES_MAX 16
#define DELIVERIES_MAX 4096
#define HEADERS_MAX 16
#define WORDS_MAX 64
#define LINE_SIZE (4 << 20)

struct queue {
    char name[128];
    onceward_queue *queue;
    onceward_subscription *subscription;
};

static onceward_store *store;
static struct queue queues[QUEUES_MAX];
static size_t queue_count;
static onceward_delivery *deliveries[DELIVERIES_MAX];
static onceward_transaction *transactions[DELIVERIES_MAX];
static size_t delivery_count;

static void defect(const char *what)
{
    fprintf(stderr, "defect of the peer: %s\n", what);
    exit(1);
}

static int say_status(int32_t status)
{
    if (status != ONCEWARD_OK) {
        printf("error %s %s\n", onceward_status_name(status), onceward_error_message());
        return 0;
    }
    return 1;
}

static void say_done(int32_t status)
{
    if (say_status(status)) {
        printf("ok\n");
    }
}

static int digit(char letter)
{
    return letter >= 'a' ? letter - 'a' + 10 : letter - '0';
}

/* Decodes hexadecimal in its place, ends it with NUL, and returns how many bytes there are. */
static size_t plain(char *word)
{
    size_t size = strlen(word) / 2;
    size_t i;
    for (i = 0; i < size; i++) {
        word[i] = (char)(digit(word[2 * i]) << 4 | digit(word[2 * i + 1]));
    }
    word[size] = '\0';
    return size;
}

static void say_hex(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    size_t i;
    for (i = 0; i < size; i++) {
        printf("%02x", bytes[i]);
    }
}

static void say_word(const void *data, size_t size)
{
    printf(" ");
    say_hex(data, size);
    if (size == 0) {
        printf("-");
    }
}

static struct queue *queue_named(const char *name)
{
    size_t i;
    for (i = 0; i < queue_count; i++) {
        if (strcmp(queues[i].name, name) == 0) {
            return &queues[i];
        }
    }
    defect("no such queue was opened");
    return NULL;
}

static int32_t semantics_named(const char *name)
{
    if (strcmp(name, "at-most-once") == 0) {
        return ONCEWARD_AT_MOST_ONCE;
    }
    return strcmp(name, "at-least-once") == 0 ? ONCEWARD_AT_LEAST_ONCE : ONCEWARD_EXACTLY_ONCE;
}

static void open_queue(char **words)
{
    struct queue *queue = &queues[queue_count];
    int32_t status = strcmp(words[1], "-") == 0
                         ? onceward_queue_open_existing(store, words[0], NULL, &queue->queue)
                         : onceward_queue_open(store, words[0], semantics_named(words[1]), NULL, &queue->queue);
    if (queue_count + 1 == QUEUES_MAX) {
        defect("too many queues");
    }
    if (say_status(status) && say_status(onceward_subscription_open(queue->queue, NULL, &queue->subscription))) {
        snprintf(queue->name, sizeof queue->name, "%s", words[0]);
        queue_count++;
        printf("ok\n");
    }
}

static char *next_part(char **text, char end)
{
    char *part = *text;
    char *stop = strchr(part, end);
    *text = stop == NULL ? part + strlen(part) : stop + 1;
    if (stop != NULL) {
        *stop = '\0';
    }
    return part;
}

/* Decodes a message in its place and sends it. */
static void send_message(char **words)
{
    onceward_header headers[HEADERS_MAX];
    onceward_message message;
    uint64_t id = 0;
    int32_t status;
    memset(&message, 0, sizeof message);
    memset(headers, 0, sizeof headers);
    message.size = sizeof message;
    if (strcmp(words[1], "-") != 0) {
        plain(words[1]);
        message.key = words[1];
    }
    if (strcmp(words[2], "-") != 0) {
        plain(words[2]);
        message.ordering_key = words[2];
    }
    if (strcmp(words[3], "-") != 0) {
        message.body_size = plain(words[3]);
        message.body = words[3];
    }
    message.headers = headers;
    while (strcmp(words[4], "-") != 0 && *words[4] != '\0') {
        onceward_header *header = &headers[message.header_count++];
        char *packed = next_part(&words[4], ',');
        char *name = next_part(&packed, ':');
        char *type = next_part(&packed, ':');
        plain(name);
        header->name = name;
        header->value_type = *type == 't' ? ONCEWARD_HEADER_TEXT : ONCEWARD_HEADER_BYTES;
        header->value_size = plain(packed);
        header->value = packed;
    }
    status = onceward_queue_send(queue_named(words[0])->queue, &message, &id);
    if (status == ONCEWARD_DUPLICATE || say_status(status)) {
        printf("sent %" PRIu64 " %s\n", id, status == ONCEWARD_DUPLICATE ? "duplicate" : "new");
    }
}

static size_t split(char *line, char **words)
{
    size_t count = 0;
    line[strcspn(line, "\n")] = '\0';
    while (*line != '\0' && count < WORDS_MAX) {
        words[count++] = next_part(&line, ' ');
    }
    return count;
}

/* Sends what stands in a file over and over, until it is killed. */
static void stream(char **words)
{
    static char line[LINE_SIZE];
    struct timespec pause = {0, 1000000};
    for (;;) {
        FILE *file = fopen(words[0], "r");
        if (file == NULL) {
            defect("the file to stream is not there");
        }
        while (fgets(line, sizeof line, file) != NULL) {
            char *message[WORDS_MAX];
            split(line, message);
            send_message(message);
            nanosleep(&pause, NULL);
        }
        fclose(file);
    }
}

static void say_delivery(onceward_delivery *delivery)
{
    onceward_message_view view;
    size_t i;
    if (onceward_delivery_get(delivery, &view, sizeof view) != ONCEWARD_OK || delivery_count == DELIVERIES_MAX) {
        defect("a delivery that cannot be seen");
    }
    printf("delivery %zu %" PRIu64 " %" PRIu64 " %" PRIu32, delivery_count, view.id, view.token, view.attempt);
    say_word(view.key, view.key == NULL ? 0 : strlen(view.key));
    say_word(view.ordering_key, view.ordering_key == NULL ? 0 : strlen(view.ordering_key));
    say_word(view.body, view.body_size);
    printf(view.header_count == 0 ? " -" : " ");
    for (i = 0; i < view.header_count; i++) {
        const onceward_header *header = &view.headers[i];
        say_hex(header->name, strlen(header->name));
        printf(header->value_type == ONCEWARD_HEADER_TEXT ? ":t:" : ":b:");
        say_hex(header->value, header->value_size);
        printf(i + 1 < view.header_count ? "," : "");
    }
    printf("\n");
    deliveries[delivery_count++] = delivery;
}

static void receive(char **words)
{
    onceward_receive_options options;
    onceward_batch *batch = NULL;
    size_t count;
    size_t i;
    int32_t status;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.max = strtoul(words[1], NULL, 10);
    options.wait_ms = strtol(words[2], NULL, 10);
    options.lease_ms = strtol(words[3], NULL, 10);
    status = onceward_subscription_receive_many(queue_named(words[0])->subscription, &options, &batch);
    if (status != ONCEWARD_EMPTY && !say_status(status)) {
        return;
    }
    count = onceward_batch_count(batch);
    for (i = 0; i < count; i++) {
        onceward_delivery *delivery = NULL;
        if (onceward_batch_delivery(batch, i, &delivery) != ONCEWARD_OK) {
            defect("a batch without its delivery");
        }
        say_delivery(delivery);
    }
    onceward_batch_free(batch);
    printf("ok %zu\n", count);
}

static size_t handle(const char *word)
{
    size_t number = strtoul(word, NULL, 10);
    if (number >= delivery_count) {
        defect("no such delivery");
    }
    return number;
}

static void begin(char **words)
{
    size_t number = handle(words[0]);
    onceward_message_view view;
    onceward_value row[3];
    memset(row, 0, sizeof row);
    if (!say_status(onceward_delivery_get(deliveries[number], &view, sizeof view)) ||
        !say_status(onceward_delivery_transaction(deliveries[number], &transactions[number]))) {
        return;
    }
    row[0].value_type = ONCEWARD_INTEGER;
    row[0].integer = (int64_t)view.id;
    row[1].value_type = ONCEWARD_INTEGER;
    row[1].integer = view.attempt;
    row[2].value_type = ONCEWARD_BLOB;
    row[2].data = view.body;
    row[2].size = view.body_size;
    say_done(onceward_transaction_execute(
        transactions[number], "INSERT INTO effect(message, attempt, body) VALUES (?, ?, ?)", row, 3, NULL));
}

static void commit(char **words)
{
    size_t number = handle(words[0]);
    say_done(onceward_transaction_commit(transactions[number]));
    onceward_transaction_free(transactions[number]);
    transactions[number] = NULL;
}

static int32_t call(void *context, onceward_outcome *outcome)
{
    char *result = context;
    printf("calling\n");
    if (strcmp(result, "hang") == 0) {
        for (;;) {
            pause();
        }
    }
    return onceward_outcome_set(outcome, result, plain(result)) == ONCEWARD_OK ? ONCEWARD_CALL_DONE : ONCEWARD_CALL_UNKNOWN;
}

static void once(char **words)
{
    onceward_once_options options;
    onceward_bytes *result = NULL;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.on_unknown = ONCEWARD_PARK;
    if (say_status(onceward_delivery_once(deliveries[handle(words[0])], words[1], &options, call, NULL, words[2], &result))) {
        printf("result ");
        say_hex(onceward_bytes_data(result), onceward_bytes_size(result));
        printf("\n");
    }
    onceward_bytes_free(result);
}

static void say_doubts(void)
{
    onceward_doubts *doubts = NULL;
    size_t count;
    size_t i;
    if (!say_status(onceward_store_in_doubt(store, 0, 100, &doubts))) {
        return;
    }
    count = onceward_doubts_count(doubts);
    for (i = 0; i < count; i++) {
        onceward_doubt_view view;
        if (onceward_doubts_get(doubts, i, &view, sizeof view) != ONCEWARD_OK) {
            defect("a doubt that cannot be seen");
        }
        printf("doubt %" PRIu64 " %" PRIu64 " %s\n", view.doubt, view.message, view.name);
    }
    onceward_doubts_free(doubts);
    printf("ok %zu\n", count);
}

static void resolve(char **words)
{
    size_t size = plain(words[1]);
    uint64_t doubt = strtoull(words[0], NULL, 10);
    say_done(onceward_store_resolve(store, doubt, ONCEWARD_APPLIED, words[1], size, "seen", "c"));
}

static void run_sql(const char *sql)
{
    onceward_transaction *transaction = NULL;
    if (say_status(onceward_store_transaction(store, &transaction)) &&
        say_status(onceward_transaction_execute(transaction, sql, NULL, 0, NULL))) {
        say_done(onceward_transaction_commit(transaction));
    }
    onceward_transaction_free(transaction);
}

static void cancel(char **words)
{
    int32_t status = onceward_queue_cancel(queue_named(words[0])->queue, strtoull(words[1], NULL, 10));
    if (status == ONCEWARD_EMPTY || say_status(status)) {
        printf("ok %s\n", status == ONCEWARD_EMPTY ? "false" : "true");
    }
}

static void say_stats(char **words)
{
    onceward_stats stats;
    if (say_status(onceward_subscription_get_stats(queue_named(words[0])->subscription, &stats, sizeof stats))) {
        printf("ok %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", stats.ready, stats.delayed,
               stats.blocked, stats.in_flight, stats.dead);
    }
}

static void obey(char *line)
{
    char *words[WORDS_MAX + 1];
    char *verb = next_part(&line, ' ');
    if (strcmp(verb, "sql") == 0) {
        run_sql(line);
        return;
    }
    split(line, words);
    if (strcmp(verb, "queue") == 0) {
        open_queue(words);
    } else if (strcmp(verb, "send") == 0) {
        send_message(words);
    } else if (strcmp(verb, "stream") == 0) {
        stream(words);
    } else if (strcmp(verb, "receive") == 0) {
        receive(words);
    } else if (strcmp(verb, "ack") == 0) {
        say_done(onceward_delivery_ack(deliveries[handle(words[0])]));
    } else if (strcmp(verb, "nack") == 0) {
        say_done(onceward_delivery_nack(deliveries[handle(words[0])], 0, NULL));
    } else if (strcmp(verb, "begin") == 0) {
        begin(words);
    } else if (strcmp(verb, "commit") == 0) {
        commit(words);
    } else if (strcmp(verb, "once") == 0) {
        once(words);
    } else if (strcmp(verb, "doubts") == 0) {
        say_doubts();
    } else if (strcmp(verb, "resolve") == 0) {
        resolve(words);
    } else if (strcmp(verb, "cancel") == 0) {
        cancel(words);
    } else if (strcmp(verb, "stats") == 0) {
        say_stats(words);
    } else if (strcmp(verb, "close") == 0) {
        say_done(onceward_store_close(store));
    } else {
        defect("an order that it does not know");
    }
}

int main(int count, char **arguments)
{
    static char line[LINE_SIZE];
    onceward_store_options options;
    if (count != 3) {
        fprintf(stderr, "usage: %s FILE BUSY_MS\n", arguments[0]);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 1 << 20);
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.busy_timeout_ms = strtol(arguments[2], NULL, 10);
    if (onceward_store_open(arguments[1], &options, &store) != ONCEWARD_OK) {
        defect(onceward_error_message());
    }
    printf("ready c %s\n", onceward_version());
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        obey(line);
    }
    return 0;
}
