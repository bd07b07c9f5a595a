/* Reading steps, and writing answers. The grammar is in tests/scenarios/README.md. Memory is kept until the program ends. */
#ifndef STEPS_H
#define STEPS_H

#include "onceward.h"

#include <ctype.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 64, LONG = 32 };

struct bytes {
    char *data;
    size_t size;
};

struct step {
    char *verb;
    char *words[WORDS_MAX];
    size_t word_count, word_next;
    char *names[WORDS_MAX], *values[WORDS_MAX];
    size_t option_count;
};

/* The answer to the step that runs, and where to go when it is known before the end. */
static struct bytes answer;
static jmp_buf answered;

static void add_bytes(const void *data, size_t size)
{
    answer.data = (char *)realloc(answer.data, answer.size + size + 1);
    memcpy(answer.data + answer.size, data, size);
    answer.size += size;
    answer.data[answer.size] = '\0';
}

static void say(const char *format, ...)
{
    char words[8192];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    add_bytes(words, (size_t)size < sizeof words ? (size_t)size : sizeof words - 1);
}

/* Ends the step: it is wrong. */
static void mistake(const char *what, const char *which)
{
    answer.size = 0;
    say("mistake: %s%s", what, which);
    longjmp(answered, 1);
}

/* Functions that were called. */
static const char *called_names[512];
static size_t called_count;

static void called(const char *name)
{
    for (size_t i = 0; i < called_count; i++) {
        if (called_names[i] == name || strcmp(called_names[i], name) == 0) return;
    }
    called_names[called_count++] = name;
}

#define CALL(name, ...) (called(#name), name(__VA_ARGS__))
#define CALL_NONE(name) (called(#name), name())

/* Ends the step with the error, if it is one. */
static int32_t must(int32_t status)
{
    if (status == ONCEWARD_OK || (status >= 100 && status != ONCEWARD_PANIC)) return status;
    answer.size = 0;
    if (CALL_NONE(onceward_error_status) != status) mistake("another status was kept", "");
    say("error %s ", CALL(onceward_status_name, status));
    const char *message = CALL_NONE(onceward_error_message);
    add_bytes(message, strlen(message));
    longjmp(answered, 1);
    return status;
}

static void check(int is_so, const char *what)
{
    if (!is_so) mistake("not so: ", what);
}

/* Whether a verb is one of these, which have spaces around them. */
static int one_of(const char *verb, const char *verbs)
{
    size_t size = strlen(verb);
    for (const char *at = verbs; (at = strstr(at, verb)) != NULL; at++) {
        if (at[-1] == ' ' && at[size] == ' ' && size > 0) return 1;
    }
    return 0;
}

static char *copied(const char *data, size_t size)
{
    char *copy = (char *)malloc(size + 1);
    memcpy(copy, data, size);
    copy[size] = '\0';
    return copy;
}

/* The next word of a line: what is in quotes may hold spaces. NULL at the end. */
static char *word_of(const char **line, int *quoted)
{
    while (**line == ' ') ++*line;
    if (**line == '\0') return NULL;
    char *word = copied("", strlen(*line)), *end = word;
    int inside = 0;
    *quoted = **line == '"';
    for (; **line != '\0' && (inside || **line != ' '); ++*line) {
        if (**line == '"') inside = !inside;
        else *end++ = **line;
    }
    *end = '\0';
    return word;
}

static struct step parse(const char *line)
{
    struct step step;
    memset(&step, 0, sizeof step);
    int quoted = 0;
    for (char *word; (word = word_of(&line, &quoted)) != NULL;) {
        size_t name = strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
        check(step.word_count < WORDS_MAX && step.option_count < WORDS_MAX, "a step has few words");
        if (!quoted && word[name] == '=') {
            step.names[step.option_count] = copied(word, name);
            step.values[step.option_count++] = word + name + 1;
        } else {
            step.words[step.word_count++] = word;
        }
    }
    step.verb = step.word_count == 0 ? copied("", 0) : step.words[step.word_next++];
    return step;
}

static char *word(struct step *step)
{
    if (step->word_next == step->word_count) mistake("a word is missing", "");
    return step->words[step->word_next++];
}

static char *option(struct step *step, const char *name)
{
    for (size_t i = 0; i < step->option_count; i++) {
        if (step->names[i] != NULL && strcmp(step->names[i], name) == 0) {
            step->names[i] = NULL;
            return step->values[i];
        }
    }
    return NULL;
}

static char *needed(struct step *step, const char *name)
{
    char *value = option(step, name);
    if (value == NULL) mistake("an option is missing: ", name);
    return value;
}

static void finish(struct step *step)
{
    if (step->word_next < step->word_count) mistake("does not take ", step->words[step->word_next]);
    for (size_t i = 0; i < step->option_count; i++) {
        if (step->names[i] != NULL) mistake("does not take ", step->names[i]);
    }
}

static int64_t number(const char *word)
{
    char *end = NULL;
    int64_t value = strtoll(word, &end, 10);
    if (end == word || *end != '\0') mistake("no number: ", word);
    return value;
}

static int64_t number_or(struct step *step, const char *name, int64_t otherwise)
{
    const char *value = option(step, name);
    return value == NULL ? otherwise : number(value);
}

static int64_t milliseconds(const char *word)
{
    char *unit = NULL;
    int64_t count = strtoll(word, &unit, 10);
    if (strcmp(unit, "ms") == 0) return count;
    if (strcmp(unit, "s") == 0) return count * 1000;
    if (strcmp(unit, "m") == 0) return count * 60000;
    if (strcmp(unit, "h") == 0) return count * 3600000;
    if (strcmp(unit, "d") == 0) return count * 86400000;
    mistake("no duration: ", word);
    return 0;
}

static int64_t duration_or(struct step *step, const char *name, int64_t otherwise)
{
    const char *value = option(step, name);
    return value == NULL ? otherwise : milliseconds(value);
}

/* The bytes that a word stands for: hex:00ff, x*1000, or itself. They are followed by a NUL. */
static struct bytes bytes_of(const char *word)
{
    struct bytes bytes = {(char *)word, strlen(word)};
    if (strncmp(word, "hex:", 4) == 0) {
        bytes.size = (bytes.size - 4) / 2;
        bytes.data = copied(word, bytes.size);
        for (size_t i = 0; i < bytes.size; i++) {
            char digits[3] = {word[4 + 2 * i], word[5 + 2 * i], '\0'};
            bytes.data[i] = (char)strtol(digits, NULL, 16);
        }
    } else if (bytes.size > 2 && word[1] == '*' && strspn(word + 2, "0123456789") == bytes.size - 2) {
        bytes.size = (size_t)number(word + 2);
        bytes.data = (char *)malloc(bytes.size + 1);
        memset(bytes.data, word[0], bytes.size);
    }
    bytes.data = bytes.data == word ? copied(word, bytes.size) : bytes.data;
    bytes.data[bytes.size] = '\0';
    return bytes;
}

static char *text_of(const char *word)
{
    return bytes_of(word).data;
}

static char *text_option(struct step *step, const char *name)
{
    const char *value = option(step, name);
    return value == NULL ? NULL : text_of(value);
}

static void show_hex(const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++) say("%02x", ((const unsigned char *)data)[i]);
}

/* Plain, in quotes where there are spaces, x*N for a long run of one letter, or hex:... */
static void show(const void *data, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)data;
    int plain = 1, spaces = 0, same = 1;
    for (size_t i = 0; i < size; i++) {
        plain = plain && bytes[i] >= ' ' && bytes[i] <= '~' && bytes[i] != '"';
        spaces = spaces || bytes[i] == ' ';
        same = same && bytes[i] == bytes[0];
    }
    if (size == 0) {
        say("\"\"");
    } else if (!plain) {
        say("hex:");
        show_hex(data, size);
    } else if (size >= LONG && same) {
        say("%c*%zu", bytes[0], size);
    } else {
        if (spaces) say("\"");
        add_bytes(data, size);
        if (spaces) say("\"");
    }
}

static void show_text(const char *text)
{
    if (text == NULL) say("-");
    else show(text, strlen(text));
}

static void show_yes(int yes)
{
    say(yes ? "yes" : "no");
}

/* Before each item of a list but the first; "none" when there is no item. */
static void between(size_t index)
{
    if (index > 0) say(" ");
}

static void show_none(size_t count)
{
    if (count == 0) say("none");
}

/* Calls `field` for each name in `show`, with commas between. */
static void fields(const char *show, void (*field)(const char *name, const void *of), const void *of)
{
    for (;;) {
        size_t size = strcspn(show, ",");
        field(copied(show, size), of);
        if (show[size] == '\0') return;
        say(",");
        show += size + 1;
    }
}

#endif
