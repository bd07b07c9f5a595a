/* Runs scenarios: `scenarios FILE...` says which fail, and writes the functions it called to the file `called`. As a process of a
 * scenario, `scenarios --steps FOLDER` takes steps and answers. With BY_HAND set, calls at third parties are begun and ended by hand. */
#include "scenarios/effects.h"

/* Takes a step; its answer is in `answer`. */
static void take(const char *line)
{
    answer.size = 0;
    say("%s", "");
    if (setjmp(answered) != 0) return;
    const char *colon = strstr(line, ": ");
    int telling = strncmp(line, "tell ", 5) == 0;
    if (colon != NULL) {
        const char *name = copied(line + (telling ? 5 : 0), (size_t)(colon - line) - (telling ? 5 : 0));
        struct thing *child = telling ? named(CHILD, name) : find(CHILD, name);
        if (child != NULL) {
            tell(child, colon + 2);
            if (telling) say("ok");
            else hear(child);
            return;
        }
    }
    struct step step = parse(line);
    if (!take_outside(&step) && !take_queues(&step) && !take_receiving(&step) && !take_effects(&step))
        mistake("there is no verb ", step.verb);
    finish(&step);
    if (answer.size == 0) say("ok");
}

static int begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Whether the answer is the one that was wanted: of an error the kind, and words that its message has. */
static int fits(const char *wanted)
{
    if (begins(answer.data, "mistake: ")) return 0;
    if (wanted == NULL) return !begins(answer.data, "error ");
    if (!begins(wanted, "error ")) return strcmp(wanted, answer.data) == 0;
    int quoted = 0, first = 1;
    const char *rest = wanted + 6;
    for (char *part; (part = word_of(&rest, &quoted)) != NULL; first = 0) {
        if (first && (!begins(answer.data, "error ") || !begins(answer.data + 6, part) || answer.data[6 + strlen(part)] != ' ')) return 0;
        if (!first && strstr(answer.data + 6, part) == NULL) return 0;
    }
    return 1;
}

static int failed;
static char title[512];

static void begin_scenario(const char *words)
{
    static int scenarios;
    forget_all();
    snprintf(title, sizeof title, "%s", words);
    snprintf(folder, sizeof folder, "s%d", scenarios++);
    check(mkdir(folder, 0700) == 0, "the folder is made");
}

static void run_line(const char *file, int number, char *line)
{
    char *arrow = strstr(line, " -> ");
    if (arrow != NULL) *arrow = '\0';
    char *end = line + strlen(line);
    while (end > line && end[-1] == ' ') *--end = '\0';
    take(line);
    if (fits(arrow == NULL ? NULL : arrow + 4)) return;
    failed++;
    printf("%s:%d: %s\n  %s\n  wanted: %s\n  found:  %.2000s\n", file, number, title, line, arrow == NULL ? "no error" : arrow + 4,
           answer.data);
}

static void run_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0;
    int skip = 0, before = 0;
    check(file != NULL, "the file opens");
    for (int number = 1; getline(&line, &room, file) > 0; number++) {
        line[strcspn(line, "\n")] = '\0';
        if (begins(line, "scenario ")) {
            begin_scenario(line + 9);
            skip = 0;
        } else if (line[0] != '\0' && line[0] != '#' && !begins(line, "covers ") && !skip) {
            before = failed;
            run_line(path, number, line);
            /* What comes after a failure says nothing more. */
            skip = failed > before;
        }
    }
    forget_all();
    free(line);
    fclose(file);
}

int main(int count, char **arguments)
{
    signal(SIGPIPE, SIG_IGN);
    if (setjmp(answered) != 0) {
        fprintf(stderr, "%s\n", answer.data);
        return 2;
    }
    by_hand = getenv("BY_HAND") != NULL;
    if (count == 3 && strcmp(arguments[1], "--steps") == 0) {
        char *line = NULL;
        size_t room = 0;
        snprintf(folder, sizeof folder, "%s", arguments[2]);
        while (getline(&line, &room, stdin) > 0) {
            line[strcspn(line, "\n")] = '\0';
            take(line);
            puts(answer.data);
            fflush(stdout);
        }
        return 0;
    }
    for (int i = 1; i < count; i++) run_file(arguments[i]);
    FILE *file = fopen("called", "w");
    for (size_t i = 0; i < called_count; i++) fprintf(file, "%s\n", called_names[i]);
    fclose(file);
    return failed != 0;
}
