/* Steps about transactions, calls at third parties, and doubts. */
#ifndef EFFECTS_H
#define EFFECTS_H

#include "receiving.h"

static onceward_transaction *begin(struct step *step)
{
    onceward_transaction *transaction = NULL;
    const char *of = option(step, "of");
    if (of != NULL) must(CALL(onceward_delivery_transaction, delivery_of(of), &transaction));
    else must(CALL(onceward_store_transaction, store_of(step), &transaction));
    return transaction;
}

static onceward_value value_of(const char *word)
{
    onceward_value value;
    memset(&value, 0, sizeof value);
    if (strcmp(word, "null") == 0) return value;
    if (word[0] == '\0' || word[1] != ':') mistake("no value: ", word);
    struct bytes bytes = {NULL, 0};
    switch (word[0]) {
    case 'i':
        value.value_type = ONCEWARD_INTEGER;
        value.integer = number(word + 2);
        break;
    case 'r':
        value.value_type = ONCEWARD_REAL;
        value.real = strtod(word + 2, NULL);
        break;
    case 't':
        value.value_type = ONCEWARD_TEXT;
        bytes = bytes_of(word + 2);
        break;
    case 'b': {
        char *hex = (char *)malloc(strlen(word) + 8);
        strcpy(hex, "hex:");
        strcat(hex, word + 2);
        value.value_type = ONCEWARD_BLOB;
        bytes = bytes_of(hex);
        break;
    }
    default: mistake("no value: ", word);
    }
    value.data = bytes.data;
    value.size = bytes.size;
    return value;
}

static void show_value(const onceward_value *value)
{
    switch (value->value_type) {
    case ONCEWARD_NULL: say("null"); break;
    case ONCEWARD_INTEGER: say("i:%" PRId64, value->integer); break;
    case ONCEWARD_REAL: say("r:%g", value->real); break;
    case ONCEWARD_TEXT:
        say("t:");
        show(value->data, value->size);
        break;
    default:
        say("b:");
        show_hex(value->data, value->size);
    }
}

static void query(onceward_transaction *transaction, const char *sql, const onceward_value *values, size_t count)
{
    onceward_rows *rows = NULL;
    must(CALL(onceward_transaction_query, transaction, sql, values, count, &rows));
    size_t columns = CALL(onceward_rows_column_count, rows), row_count = CALL(onceward_rows_count, rows);
    for (size_t column = 0; column < columns; column++)
        say("%s%s", column > 0 ? "," : "", CALL(onceward_rows_column_name, rows, column));
    for (size_t row = 0; row < row_count; row++) {
        for (size_t column = 0; column < columns; column++) {
            onceward_value value;
            must(CALL(onceward_rows_get, rows, row, column, &value));
            say(column > 0 ? "," : " ");
            show_value(&value);
        }
    }
    CALL(onceward_rows_free, rows);
}

/* The values that are left. Sets of them have slashes between. */
static onceward_value *values_of(struct step *step, size_t *count, size_t *sets)
{
    onceward_value *values = (onceward_value *)calloc(WORDS_MAX, sizeof *values);
    size_t total = 0;
    for (*sets = 1; step->word_next < step->word_count;) {
        const char *one = word(step);
        if (strcmp(one, "/") == 0) ++*sets;
        else values[total++] = value_of(one);
    }
    *count = total / *sets;
    return values;
}

static void sql(struct step *step)
{
    int apply = strcmp(step->verb, "apply") == 0;
    onceward_transaction *transaction = apply ? begin(step) : transaction_of(word(step));
    const char *statement = word(step);
    size_t count = 0, sets = 1;
    uint64_t changed = 0;
    onceward_value *values = values_of(step, &count, &sets);
    if (strcmp(step->verb, "query") == 0) {
        query(transaction, statement, values, count);
        return;
    }
    if (strcmp(step->verb, "execute_many") == 0)
        must(CALL(onceward_transaction_execute_many, transaction, statement, values, count, sets, &changed));
    else
        must(CALL(onceward_transaction_execute, transaction, statement, values, count, &changed));
    say("%" PRIu64, changed);
    if (apply) {
        must(CALL(onceward_transaction_commit, transaction));
        onceward_transaction_free(transaction);
    }
}

static void end_transaction(struct step *step)
{
    struct thing *thing = named(TRANSACTION, word(step));
    onceward_transaction *transaction = (onceward_transaction *)thing->handle;
    if (strcmp(step->verb, "commit") == 0) must(CALL(onceward_transaction_commit, transaction));
    else must(CALL(onceward_transaction_rollback, transaction));
}

static void tx_ack(struct step *step)
{
    onceward_transaction *transaction = transaction_of(word(step));
    const char *name = word(step);
    struct receipts all = receipts_of(step);
    must(CALL(onceward_transaction_ack, transaction, receiver_of(name), all.items, all.count));
}

static void open_ledger(struct step *step)
{
    onceward_ledger_options options;
    onceward_ledger *ledger = NULL;
    const char *name = word(step), *window = option(step, "window");
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    if (window != NULL) options.window_ms = strcmp(window, "forever") == 0 ? ONCEWARD_FOREVER : milliseconds(window);
    must(CALL(onceward_ledger_open, store_of(step), text_of(name), &options, &ledger));
    keep(LEDGER, name, ledger);
}

/* What a call and a probe do: "done:result", "failed:why", and so on. */
struct asked {
    const char *call, *probe;
};

/* The outcome of a call. */
static int32_t outcome_of(const char *asked)
{
    return strncmp(asked, "done:", 5) == 0     ? ONCEWARD_CALL_DONE
           : strncmp(asked, "failed:", 7) == 0 ? ONCEWARD_CALL_FAILED
                                               : ONCEWARD_CALL_UNKNOWN;
}

static int32_t answer_of(const char *asked)
{
    return strncmp(asked, "applied:", 8) == 0        ? ONCEWARD_PROBE_APPLIED
           : strcmp(asked, "not_applied") == 0 ? ONCEWARD_PROBE_NOT_APPLIED
                                               : ONCEWARD_PROBE_UNKNOWN;
}

static struct bytes words_of(const char *asked)
{
    const char *colon = strchr(asked, ':');
    return bytes_of(colon == NULL ? "" : colon + 1);
}

/* A call that hangs never returns. */
static void note_call(const char *asked)
{
    calls++;
    if (strcmp(asked, "hang") != 0) return;
    puts("calling");
    fflush(stdout);
    for (;;) pause();
}

static int32_t call(void *context, onceward_outcome *outcome)
{
    const char *asked = ((struct asked *)context)->call;
    note_call(asked);
    struct bytes content = words_of(asked);
    CALL(onceward_outcome_set, outcome, content.data, content.size);
    return outcome_of(asked);
}

static int32_t probe(void *context, onceward_outcome *outcome)
{
    const char *asked = ((struct asked *)context)->probe;
    probes++;
    struct bytes content = words_of(asked);
    CALL(onceward_outcome_set, outcome, content.data, content.size);
    return answer_of(asked);
}

/* Every scenario is run with calls that are made in callbacks, and with calls that are begun and ended by hand. */
static int by_hand;

/* Ends what was begun. The handle is freed also when the library refuses: a process of a scenario lives on. */
static onceward_bytes *end_by_hand(int32_t todo, onceward_effect *effect, const struct asked *asked, onceward_bytes *result)
{
    int32_t status = ONCEWARD_OK;
    if (todo == ONCEWARD_TODO_PROBE) {
        struct bytes content = words_of(asked->probe);
        probes++;
        status = CALL(onceward_effect_probed, effect, answer_of(asked->probe), content.data, content.size, &todo, &result);
    }
    struct bytes content = words_of(asked->call);
    int made = status == ONCEWARD_OK && todo == ONCEWARD_TODO_CALL;
    if (made) {
        note_call(asked->call);
        status = CALL(onceward_effect_ended, effect, outcome_of(asked->call), content.data, content.size);
    }
    CALL(onceward_effect_free, effect);
    must(status);
    if (made) show(content.data, content.size);
    return made ? NULL : result;
}

static void once(struct step *step)
{
    onceward_once_options options;
    onceward_bytes *result = NULL;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    const char *of = word(step), *name = text_of(word(step)), *unknown = needed(step, "on_unknown");
    struct asked asked = {needed(step, "call"), option(step, "probe")};
    options.on_unknown = strcmp(unknown, "park") == 0 ? ONCEWARD_PARK : strcmp(unknown, "fail") == 0 ? ONCEWARD_FAIL : ONCEWARD_PROBE;
    options.settle_ms = duration_or(step, "settle", 0);
    options.idempotent_for_ms = duration_or(step, "idempotent_for", 0);
    options.wait_ms = duration_or(step, "wait", 0);
    const char *request = option(step, "request");
    if (request != NULL) {
        struct bytes content = bytes_of(request);
        options.request = content.data;
        options.request_size = content.size;
    }
    onceward_callback ask = asked.probe == NULL ? NULL : probe;
    onceward_ledger *ledger = find(DELIVERY, of) == NULL ? (onceward_ledger *)named(LEDGER, of)->handle : NULL;
    if (by_hand) {
        onceward_effect *effect = NULL;
        int32_t todo = ONCEWARD_TODO_NOTHING;
        if (ledger == NULL)
            must(CALL(onceward_delivery_once_begin, delivery_of(of), name, &options, &todo, &effect, &result));
        else
            must(CALL(onceward_ledger_once_begin, ledger, name, &options, &todo, &effect, &result));
        result = end_by_hand(todo, effect, &asked, result);
        if (result == NULL) return;
    } else if (ledger == NULL)
        must(CALL(onceward_delivery_once, delivery_of(of), name, &options, call, ask, &asked, &result));
    else
        must(CALL(onceward_ledger_once, ledger, name, &options, call, ask, &asked, &result));
    show(CALL(onceward_bytes_data, result), CALL(onceward_bytes_size, result));
    CALL(onceward_bytes_free, result);
}

/* Keys are shown by the order in which they were first seen. */
static void idempotency_key(struct step *step)
{
    const char *of = word(step), *name = text_of(word(step));
    char *key = keys[key_count];
    if (find(DELIVERY, of) != NULL)
        must(CALL(onceward_delivery_idempotency_key, delivery_of(of), name, key, sizeof keys[0]));
    else
        must(CALL(onceward_ledger_idempotency_key, (onceward_ledger *)named(LEDGER, of)->handle, name, key, sizeof keys[0]));
    check(strlen(key) == 36, "a key has the form of a UUID");
    size_t at = 0;
    while (strcmp(keys[at], key) != 0) at++;
    if (at == key_count) key_count++;
    say("key %zu", at + 1);
}

struct doubted {
    onceward_doubt_view doubt;
    onceward_resolution_view answer;
};

static void doubt_field(const char *name, const void *of)
{
    const struct doubted *one = (const struct doubted *)of;
    if (strcmp(name, "queue") == 0) show_text(one->doubt.queue);
    else if (strcmp(name, "subscription") == 0) show_text(one->doubt.subscription);
    else if (strcmp(name, "ledger") == 0) show_text(one->doubt.ledger);
    else if (strcmp(name, "name") == 0) show_text(one->doubt.name);
    else if (strcmp(name, "key") == 0) show_text(one->doubt.key);
    else if (strcmp(name, "evidence") == 0) show_text(one->answer.evidence);
    else if (strcmp(name, "actor") == 0) show_text(one->answer.actor);
    else if (strcmp(name, "message") == 0) say("%s", one->doubt.message == 0 ? "-" : name_of(one->doubt.message));
    else if (strcmp(name, "resolution") == 0 && one->answer.resolution == ONCEWARD_APPLIED) {
        say("applied:");
        show(one->answer.result, one->answer.result_size);
    } else if (strcmp(name, "resolution") == 0) say("not_applied");
    else mistake("there is no field ", name);
}

static uint64_t doubt_of(const char *name)
{
    struct thing *thing = find(DOUBT, name);
    return thing != NULL ? thing->number : (uint64_t)number(name);
}

static void list_doubts(struct step *step)
{
    int resolved = strcmp(step->verb, "resolutions") == 0;
    const char *show = option(step, "show"), *begin = option(step, "as"), *from = option(step, "after");
    uint64_t after = from == NULL ? 0 : doubt_of(from);
    size_t max = (size_t)number_or(step, "max", 100);
    onceward_doubts *doubts = NULL;
    onceward_resolutions *answers = NULL;
    if (resolved) must(CALL(onceward_store_resolutions, store_of(step), after, max, &answers));
    else must(CALL(onceward_store_in_doubt, store_of(step), after, max, &doubts));
    size_t count = resolved ? CALL(onceward_resolutions_count, answers) : CALL(onceward_doubts_count, doubts);
    for (size_t i = 0; i < count; i++) {
        struct doubted one;
        memset(&one, 0, sizeof one);
        if (resolved) {
            must(CALL(onceward_resolutions_get, answers, i, &one.doubt, sizeof one.doubt));
            must(CALL(onceward_resolutions_answer, answers, i, &one.answer, sizeof one.answer));
            check(one.doubt.since_ms <= one.answer.resolved_at_ms, "it was resolved after it came to be");
        } else {
            must(CALL(onceward_doubts_get, doubts, i, &one.doubt, sizeof one.doubt));
            check(one.doubt.called_at_ms <= one.doubt.since_ms && one.doubt.process > 0, "it was called");
        }
        check(one.doubt.doubt > 0 && one.doubt.error[0] != '\0', "it has a number and words");
        if (begin != NULL) keep(DOUBT, numbered(begin, i), NULL)->number = one.doubt.doubt;
        between(i);
        fields(show == NULL ? "name" : show, doubt_field, &one);
    }
    show_none(count);
    if (resolved) CALL(onceward_resolutions_free, answers);
    else CALL(onceward_doubts_free, doubts);
}

static void resolve(struct step *step)
{
    uint64_t doubt = doubt_of(word(step));
    const char *applied = option(step, "applied");
    struct bytes result = bytes_of(applied == NULL ? "" : applied);
    if (applied == NULL && strcmp(word(step), "not_applied") != 0) mistake("a resolution is applied=RESULT or not_applied", "");
    const char *evidence = text_of(needed(step, "evidence")), *actor = text_of(needed(step, "actor"));
    must(CALL(onceward_store_resolve, store_of(step), doubt, applied == NULL ? ONCEWARD_NOT_APPLIED : ONCEWARD_APPLIED,
              applied == NULL ? NULL : result.data, result.size, evidence, actor));
}

static int take_effects(struct step *step)
{
    const char *verb = step->verb;
    if (strcmp(verb, "transaction") == 0) {
        const char *name = word(step);
        keep(TRANSACTION, name, begin(step));
    } else if (one_of(verb, " execute execute_many query apply ")) sql(step);
    else if (one_of(verb, " commit rollback ")) end_transaction(step);
    else if (strcmp(verb, "tx_ack") == 0) tx_ack(step);
    else if (strcmp(verb, "ledger") == 0) open_ledger(step);
    else if (strcmp(verb, "once") == 0) once(step);
    else if (strcmp(verb, "calls") == 0) {
        say("calls=%d probes=%d", calls, probes);
        calls = probes = 0;
    } else if (strcmp(verb, "idempotency_key") == 0) idempotency_key(step);
    else if (one_of(verb, " in_doubt resolutions ")) list_doubts(step);
    else if (strcmp(verb, "resolve") == 0) resolve(step);
    else return 0;
    return 1;
}

#endif
