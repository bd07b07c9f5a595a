/* Steps about stores, queues and subscriptions, and steps that send. */
#ifndef QUEUES_H
#define QUEUES_H

#include "world.h"

static void open_store(struct step *step)
{
    onceward_store_options options;
    onceward_store *store = NULL;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    const char *name = option(step, "as"), *path = option(step, "path");
    const char *create = option(step, "create"), *remote = option(step, "allow_remote_file_system");
    options.busy_timeout_ms = duration_or(step, "busy_timeout", 0);
    options.transaction_time_limit_ms = duration_or(step, "transaction_time_limit", 0);
    options.body_bytes_max = (size_t)number_or(step, "body_bytes_max", 0);
    options.wal_bytes_max = (uint64_t)number_or(step, "wal_bytes_max", 0);
    options.must_exist = create != NULL && strcmp(create, "no") == 0;
    options.allow_remote_file_system = remote != NULL && strcmp(remote, "yes") == 0;
    check(CALL_NONE(onceward_abi_version) == ONCEWARD_ABI_VERSION, "the header is the library's");
    check(isdigit((unsigned char)CALL_NONE(onceward_version)[0]), "there is a version");
    must(CALL(onceward_store_open, path_of(path == NULL ? "app.db" : path), &options, &store));
    keep(STORE, name == NULL ? "store" : name, store);
}

static void open_queue(struct step *step)
{
    onceward_queue_options options;
    onceward_queue *queue = NULL;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    char *name = word(step);
    const char *alias = option(step, "as"), *semantics = option(step, "semantics"), *value;
    options.lease_ms = duration_or(step, "lease", 0);
    if ((value = option(step, "attempts_max")) != NULL)
        options.attempts_max = strcmp(value, "unlimited") == 0 ? ONCEWARD_UNLIMITED : number(value);
    if ((value = option(step, "window")) != NULL)
        options.deduplication_window_ms = strcmp(value, "forever") == 0 ? ONCEWARD_FOREVER : milliseconds(value);
    for (size_t i = 0; i < step->option_count; i++) {
        if (step->names[i] != NULL && strncmp(step->names[i], "backoff_", 8) == 0) options.has_backoff = 1;
    }
    options.backoff_first_ms = duration_or(step, "backoff_first", 1000);
    options.backoff_cap_ms = duration_or(step, "backoff_cap", 3600000);
    options.backoff_factor = (value = option(step, "backoff_factor")) != NULL ? strtod(value, NULL) : 2;
    options.backoff_jitter = (value = option(step, "backoff_jitter")) != NULL ? strtod(value, NULL) : 0.5;
    if ((value = option(step, "subscriptions")) != NULL) {
        const char **names = (const char **)calloc(1100, sizeof *names);
        for (char *one = strtok((char *)value, ","); one != NULL; one = strtok(NULL, ",")) {
            char *count = strchr(one, '#');
            if (count != NULL) *count++ = '\0';
            for (int64_t i = 0; i < (count == NULL ? 1 : number(count)); i++) {
                char numbered[64];
                snprintf(numbered, sizeof numbered, "%s%" PRId64, one, i);
                names[options.subscription_count++] = count == NULL ? one : copied(numbered, strlen(numbered));
            }
        }
        options.subscriptions = names;
    }
    onceward_store *store = store_of(step);
    if (semantics == NULL) {
        must(CALL(onceward_queue_open_existing, store, text_of(name), &options, &queue));
    } else {
        int32_t number = strcmp(semantics, "at-most-once") == 0 ? ONCEWARD_AT_MOST_ONCE
                       : strcmp(semantics, "at-least-once") == 0 ? ONCEWARD_AT_LEAST_ONCE
                       : strcmp(semantics, "exactly-once") == 0 ? ONCEWARD_EXACTLY_ONCE : 7;
        must(CALL(onceward_queue_open, store, text_of(name), number, &options, &queue));
    }
    check(strcmp(CALL(onceward_queue_name, queue), text_of(name)) == 0, "the queue has its name");
    keep(QUEUE, alias == NULL ? name : alias, queue);
}

static void show_names(onceward_names *names)
{
    size_t count = CALL(onceward_names_count, names);
    for (size_t i = 0; i < count; i++) {
        between(i);
        show_text(CALL(onceward_names_get, names, i));
    }
    show_none(count);
    CALL(onceward_names_free, names);
}

static void settings(struct step *step)
{
    static const char *const SEMANTICS[] = {"", "at-most-once", "at-least-once", "exactly-once"};
    onceward_queue_settings found;
    must(CALL(onceward_queue_get_settings, queue_of(word(step)), &found, sizeof found));
    say("%s lease=%" PRId64 "ms attempts_max=", SEMANTICS[found.semantics], found.lease_ms);
    if (found.attempts_max == ONCEWARD_UNLIMITED) say("unlimited");
    else say("%" PRId64, found.attempts_max);
    say(" backoff=%" PRId64 "ms,%g,%" PRId64 "ms,%g window=", found.backoff_first_ms, found.backoff_factor,
        found.backoff_cap_ms, found.backoff_jitter);
    if (found.deduplication_window_ms == ONCEWARD_FOREVER) say("forever");
    else say("%" PRId64 "ms", found.deduplication_window_ms);
    say(" paused=%s", found.is_paused ? "yes" : "no");
}

static void store_stats(struct step *step)
{
    onceward_store_stats found;
    must(CALL(onceward_store_get_stats, store_of(step), &found, sizeof found));
    int whole = found.file_bytes > 0 && found.wal_bytes > 0 && strncmp(CALL_NONE(onceward_sqlite_version), "3.", 2) == 0;
    say("queues=%" PRIu64 " in_doubt=%" PRIu64 " sizes=%s", found.queues, found.in_doubt, whole ? "yes" : "no");
}

static void subscription(struct step *step)
{
    char *full = word(step), *slash = strchr(full, '/');
    const char *start = option(step, "start");
    onceward_subscription *found = NULL;
    if (slash == NULL) mistake("a subscription is queue/name", "");
    onceward_queue *queue = queue_of(copied(full, (size_t)(slash - full)));
    char *name = text_of(slash + 1);
    if (strcmp(step->verb, "unsubscribe") == 0) {
        must(CALL(onceward_queue_unsubscribe, queue, name));
        return;
    }
    if (strcmp(step->verb, "subscription") == 0) {
        must(CALL(onceward_subscription_open, queue, name, &found));
    } else {
        int oldest = start != NULL && strcmp(start, "oldest") == 0;
        must(CALL(onceward_subscription_create, queue, name, oldest ? ONCEWARD_START_OLDEST : ONCEWARD_START_NOW, &found));
    }
    keep(SUBSCRIPTION, full, found);
}

/* A body, or a body and a key: hello/k1. */
static onceward_message message_of(const char *word, struct step *step)
{
    onceward_message message;
    onceward_header *headers = (onceward_header *)calloc(WORDS_MAX, sizeof *headers);
    memset(&message, 0, sizeof message);
    message.size = sizeof message;
    const char *slash = strchr(word, '/'), *value;
    struct bytes body = bytes_of(slash == NULL ? word : copied(word, (size_t)(slash - word)));
    message.body = body.data;
    message.body_size = body.size;
    message.key = slash == NULL ? text_option(step, "key") : text_of(slash + 1);
    message.ordering_key = text_option(step, "ordering_key");
    message.delay_ms = duration_or(step, "delay", 0);
    message.time_to_live_ms = duration_or(step, "time_to_live", 0);
    if ((value = option(step, "priority")) != NULL) {
        message.has_priority = 1;
        message.priority = (int32_t)number(value);
    }
    if ((value = option(step, "deliver_in")) != NULL) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        int64_t ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
        message.deliver_at_ms = value[0] == '-' ? ms - milliseconds(value + 1) : ms + milliseconds(value);
    }
    for (size_t i = 0; i < step->option_count; i++) {
        if (step->names[i] == NULL || strncmp(step->names[i], "header.", 7) != 0) continue;
        onceward_header *header = &headers[message.header_count++];
        struct bytes content = bytes_of(step->values[i]);
        header->name = step->names[i] + 7;
        header->value = content.data;
        header->value_size = content.size;
        header->value_type = strncmp(step->values[i], "hex:", 4) == 0 ? ONCEWARD_HEADER_BYTES : ONCEWARD_HEADER_TEXT;
        step->names[i] = NULL;
    }
    message.headers = headers;
    return message;
}

static void sent(struct step *step, int32_t status, uint64_t id)
{
    const char *name = option(step, "as");
    if (name != NULL) keep(MESSAGE, name, NULL)->number = id;
    if (status == ONCEWARD_DUPLICATE) say("duplicate %s", name_of(id));
    else say("sent");
}

static void send(struct step *step)
{
    uint64_t id = 0;
    onceward_queue *queue = queue_of(word(step));
    onceward_message message = message_of(word(step), step);
    int32_t status = must(CALL(onceward_queue_send, queue, &message, &id));
    sent(step, status, id);
}

static void tx_send(struct step *step)
{
    uint64_t id = 0;
    onceward_transaction *transaction = transaction_of(word(step));
    onceward_queue *queue = queue_of(word(step));
    onceward_message message = message_of(word(step), step);
    int32_t status = must(CALL(onceward_transaction_send, transaction, queue, &message, &id));
    sent(step, status, id);
}

static void send_many(struct step *step)
{
    onceward_queue *queue = queue_of(word(step));
    size_t times = (size_t)number_or(step, "times", 1), words = step->word_count - step->word_next, duplicates = 0;
    size_t count = times * words;
    const char *begin = option(step, "as");
    onceward_message *messages = (onceward_message *)calloc(count + 1, sizeof *messages);
    onceward_sent *done = (onceward_sent *)calloc(count + 1, sizeof *done);
    for (size_t i = 0; i < count; i++)
        messages[i] = i < words ? message_of(word(step), step) : messages[i % words];
    must(CALL(onceward_queue_send_many, queue, messages, count, done));
    for (size_t i = 0; i < count; i++) {
        duplicates += done[i].is_duplicate != 0;
        if (begin != NULL) keep(MESSAGE, numbered(begin, i), NULL)->number = done[i].id;
    }
    say("sent %zu duplicates %zu", count - duplicates, duplicates);
}

static void manage(struct step *step)
{
    onceward_queue *queue = queue_of(word(step));
    if (strcmp(step->verb, "cancel") == 0) {
        show_yes(must(CALL(onceward_queue_cancel, queue, id_of(word(step)))) == ONCEWARD_OK);
    } else if (strcmp(step->verb, "purge") == 0) {
        uint64_t purged = 0;
        must(CALL(onceward_queue_purge, queue, &purged));
        say("%" PRIu64, purged);
    } else if (strcmp(step->verb, "pause") == 0) {
        must(CALL(onceward_queue_pause, queue));
    } else if (strcmp(step->verb, "resume") == 0) {
        must(CALL(onceward_queue_resume, queue));
    } else {
        onceward_queue_settings found;
        must(CALL(onceward_queue_get_settings, queue, &found, sizeof found));
        show_yes(found.is_paused);
    }
}

static int take_queues(struct step *step)
{
    const char *verb = step->verb;
    onceward_names *names = NULL;
    if (strcmp(verb, "open") == 0) open_store(step);
    else if (strcmp(verb, "close") == 0) must(CALL(onceward_store_close, store_of(step)));
    else if (strcmp(verb, "queue") == 0) open_queue(step);
    else if (strcmp(verb, "settings") == 0) settings(step);
    else if (strcmp(verb, "store_stats") == 0) store_stats(step);
    else if (one_of(verb, " subscribe subscription unsubscribe ")) subscription(step);
    else if (strcmp(verb, "send") == 0) send(step);
    else if (strcmp(verb, "send_many") == 0) send_many(step);
    else if (strcmp(verb, "tx_send") == 0) tx_send(step);
    else if (one_of(verb, " cancel purge pause resume paused ")) manage(step);
    else if (strcmp(verb, "queues") == 0) must(CALL(onceward_store_queues, store_of(step), &names));
    else if (strcmp(verb, "ledgers") == 0) must(CALL(onceward_store_ledgers, store_of(step), &names));
    else if (strcmp(verb, "subscriptions") == 0) must(CALL(onceward_queue_subscriptions, queue_of(word(step)), &names));
    else return 0;
    if (names != NULL) show_names(names);
    return 1;
}

#endif
