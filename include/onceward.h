/* Onceward: an embedded, durable message queue and deduplication ledger over one SQLite file.
 *
 * Every call returns a status: ONCEWARD_OK, an error below 100 (the same kinds and numbers in every language), an expected outcome
 * that is no error from 100 on, or ONCEWARD_PANIC. After an error, onceward_error_message() has the words, for this thread.
 *
 * Arguments are borrowed for the call. Texts are UTF-8 and end with NUL. Times are milliseconds. Handles that a call returns are
 * yours: each type has one function that frees it, which takes NULL; outputs are set to NULL first. Structures of options begin
 * with their size; structures that are filled in are followed by their size. A handle that is NULL, freed, or of another type is
 * ONCEWARD_INVALID. Every function may be called from every thread.
 *
 * Each function names the statuses that are its own. The common statuses are those that it gives besides, of which not all are named
 * again. Every call gives ONCEWARD_INVALID for what is no living handle, for an argument that is NULL and must not be, and for an output
 * that no value can stand at; all of that is looked at before anything is done. Every call that reaches the store gives
 * ONCEWARD_CLOSED, ONCEWARD_DETACHED, ONCEWARD_CORRUPT, ONCEWARD_STORAGE and ONCEWARD_DENIED for what these names say; and ONCEWARD_BUSY
 * and ONCEWARD_FULL, seldom where it only reads. A thread that has a transaction open gets ONCEWARD_INVALID from its calls that write
 * to the same store outside of it: they would wait for themselves.
 *
 * Licence: MIT or Apache-2.0.
 */

#ifndef ONCEWARD_H
#define ONCEWARD_H

/* Made from the source of the crate onceward-c by cbindgen. Do not edit. */

#include <stddef.h>
#include <stdint.h>

/*
 The version of the library that this header is of. onceward_version() is the one that the program runs with.
 */
#define ONCEWARD_VERSION "0.1.0"
#define ONCEWARD_VERSION_MAJOR 0
#define ONCEWARD_VERSION_MINOR 1
#define ONCEWARD_VERSION_PATCH 0

/*
 Offers a message again after the queue's backoff.
 */
#define ONCEWARD_BACKOFF -1

/*
 Room for an idempotency key and its NUL.
 */
#define ONCEWARD_IDEMPOTENCY_KEY_SIZE 37

/*
 A person found out that an effect happened.
 */
#define ONCEWARD_APPLIED 1

/*
 A person found out that an effect did not happen, and that no request for it is under way.
 */
#define ONCEWARD_NOT_APPLIED 2

/*
 There is nothing to do: it happened before, and the result is that of then.
 */
#define ONCEWARD_TODO_NOTHING 0

/*
 It is on disk that the call starts: make it, then say how it ended with onceward_effect_ended.
 */
#define ONCEWARD_TODO_CALL 1

/*
 An earlier caller is gone, and whether its call took effect is not known: ask the third party, then say what it answered with
 onceward_effect_probed. Only with ONCEWARD_PROBE.
 */
#define ONCEWARD_TODO_PROBE 2

/*
 The value of a header is bytes.
 */
#define ONCEWARD_HEADER_BYTES 0

/*
 The value of a header is text: UTF-8.
 */
#define ONCEWARD_HEADER_TEXT 1

/*
 An effect whose outcome nobody knows waits, listed, for a person to decide. A message waits with it, and is offered to nobody.
 */
#define ONCEWARD_PARK 1

/*
 The third party is asked whether it happened.
 */
#define ONCEWARD_PROBE 2

/*
 It is listed as in doubt, and a message goes to the dead letters at once.
 */
#define ONCEWARD_FAIL 3

/*
 A call happened. What was put down with onceward_outcome_set is its result.
 */
#define ONCEWARD_CALL_DONE 0

/*
 A call is known not to have happened, and may be made again. What was put down says why.
 */
#define ONCEWARD_CALL_FAILED 1

/*
 A call may have happened or not: a time-out, a broken connection. What was put down says what is known.
 */
#define ONCEWARD_CALL_UNKNOWN 2

/*
 A probe found that it happened. What was put down is its result.
 */
#define ONCEWARD_PROBE_APPLIED 0

/*
 A probe found that it did not happen.
 */
#define ONCEWARD_PROBE_NOT_APPLIED 1

/*
 A probe cannot tell. What was put down says why.
 */
#define ONCEWARD_PROBE_UNKNOWN 2

/*
 A message is handed over at most once, ever; it may be lost.
 */
#define ONCEWARD_AT_MOST_ONCE 1

/*
 Once a send has returned, the message is delivered until it is acknowledged, dead-lettered or expired; it may come twice.
 */
#define ONCEWARD_AT_LEAST_ONCE 2

/*
 At least once, and: a send repeated with its key is one message, and the effects of a message are committed together with
 its acknowledgement.
 */
#define ONCEWARD_EXACTLY_ONCE 3

/*
 A window that never ends: what is remembered is remembered for ever.
 */
#define ONCEWARD_FOREVER -1

/*
 No attempts limit.
 */
#define ONCEWARD_UNLIMITED -1

/*
 The call did what it says.
 */
#define ONCEWARD_OK 0

/*
 Correct the call: an argument is out of its limits, or is no living handle. Nothing was written.
 */
#define ONCEWARD_INVALID 1

/*
 Create it first, or look elsewhere: no such queue, subscription, message, doubt or file.
 */
#define ONCEWARD_NOT_FOUND 2

/*
 Decide which one is right: something else already stands under that name or key. Nothing was written.
 */
#define ONCEWARD_CONFLICT 3

/*
 Drop the work: the delivery has been given to someone else, or its message is no longer there.
 */
#define ONCEWARD_LEASE_LOST 4

/*
 Try again: others kept the store busy for longer than the busy timeout, or somebody is at the same effect.
 */
#define ONCEWARD_BUSY 5

/*
 Free disk space (or end the reader that the message names), then try again. Nothing was written.
 */
#define ONCEWARD_FULL 6

/*
 Open a store in this process: this one was closed, or it was opened before a fork.
 */
#define ONCEWARD_CLOSED 7

/*
 Stop and look: the file was moved, deleted or replaced while open. What was not acknowledged may be lost.
 */
#define ONCEWARD_DETACHED 8

/*
 Restore a backup or open another file: this one is no SQLite database, or it is damaged.
 */
#define ONCEWARD_CORRUPT 9

/*
 Look at the disk: the operating system reported an input/output error. The outcome of the call is unknown.
 */
#define ONCEWARD_STORAGE 10

/*
 Upgrade the library or move the file: its format is newer, or its file system cannot keep the promises.
 */
#define ONCEWARD_UNSUPPORTED 11

/*
 Grant access: the operating system refused to open or to write the file.
 */
#define ONCEWARD_DENIED 12

/*
 Correct the statement: the application's own SQL failed inside a transaction.
 */
#define ONCEWARD_SQL 13

/*
 Run the work again, faster: the transaction passed its time limit and was rolled back.
 */
#define ONCEWARD_EXPIRED 14

/*
 Find out what happened at the third party and resolve it: whether the call took effect is not known.
 */
#define ONCEWARD_IN_DOUBT 15

/*
 Repeat it later: the call is known not to have happened.
 */
#define ONCEWARD_FAILED 16

/*
 An error of a kind that this version of the C library has no number for.
 */
#define ONCEWARD_OTHER 99

/*
 No error: there was nothing to receive or to take away.
 */
#define ONCEWARD_EMPTY 100

/*
 No error: the key was sent before; nothing was written, and the id is that of the earlier message.
 */
#define ONCEWARD_DUPLICATE 101

/*
 No error of the call: some of the receipts had lost their lease and are listed; all others were settled.
 */
#define ONCEWARD_SOME_LOST 102

/*
 A defect of the library: it stopped at the border. The message says where. Close the store.
 */
#define ONCEWARD_PANIC 255

/*
 The version of the binary interface. It changes when programs built against an older header no longer work.
 */
#define ONCEWARD_ABI_VERSION 0

/*
 A new subscription begins with the next message sent.
 */
#define ONCEWARD_START_NOW 0

/*
 A new subscription begins with the oldest message that is still in the queue.
 */
#define ONCEWARD_START_OLDEST 1

/*
 The value is NULL.
 */
#define ONCEWARD_NULL 0

/*
 The value is in `integer`.
 */
#define ONCEWARD_INTEGER 1

/*
 The value is in `real`.
 */
#define ONCEWARD_REAL 2

/*
 The value is text: UTF-8, in `data` and `size`.
 */
#define ONCEWARD_TEXT 3

/*
 The value is bytes, in `data` and `size`.
 */
#define ONCEWARD_BLOB 4

/*
 Messages that were received together, under one lease.
 */
typedef struct onceward_batch onceward_batch;

/*
 Bytes: the result of an effect.
 */
typedef struct onceward_bytes onceward_bytes;

/*
 Hands out a subscription's messages one by one. It receives in batches and, while it lives, extends the leases of everything that it
 received and that is not finished. The acknowledgements of its deliveries are noted, and committed together: with the next receive,
 by onceward_consumer_flush, or after 100 ms, whichever comes first. A crash before that delivers again.

 It may be shared between threads; they receive one at a time.
 */
typedef struct onceward_consumer onceward_consumer;

/*
 A list of dead letters.
 */
typedef struct onceward_dead_letters onceward_dead_letters;

/*
 A message handed to this receiver, its own until the lease ends. Settle it in one of the ways below. Freeing it settles
 nothing: the message is offered again when the lease has ended. A settle that failed with ONCEWARD_BUSY or ONCEWARD_FULL may be
 repeated; one that succeeded is final, and another on the same delivery fails with ONCEWARD_INVALID. Of threads that settle it at
 once, one succeeds. When the subscription was ended, settling fails with ONCEWARD_NOT_FOUND (an acknowledgement that a consumer notes,
 when it is committed).
 */
typedef struct onceward_delivery onceward_delivery;

/*
 A list of effects in doubt.
 */
typedef struct onceward_doubts onceward_doubts;

/*
 A call that may be made now, or a question to be asked. As long as it lives, nobody else makes the same call. Freed without a word, a
 call is in doubt, for nobody knows then; of a question nothing changes.
 */
typedef struct onceward_effect onceward_effect;

/*
 Effects at third parties that are made once, by keys of the application's own. It may be shared between threads.
 */
typedef struct onceward_ledger onceward_ledger;

/*
 A list of messages that were looked at without taking them.
 */
typedef struct onceward_messages onceward_messages;

/*
 A list of names.
 */
typedef struct onceward_names onceward_names;

/*
 Where a callback puts down the result, or the words, of what it returns. It lives as long as the callback runs.
 */
typedef struct onceward_outcome onceward_outcome;

/*
 A queue of an open store. It may be shared between threads.
 */
typedef struct onceward_queue onceward_queue;

/*
 A descriptor that is readable while a subscription may have something to receive: for poll, epoll and event loops built on
 them, instead of a thread that waits in a receive.
 */
typedef struct onceward_readiness onceward_readiness;

/*
 A list of doubts that persons have resolved, and how.
 */
typedef struct onceward_resolutions onceward_resolutions;

/*
 What a query found.
 */
typedef struct onceward_rows onceward_rows;

/*
 An open store: one SQLite file with its queues and its ledgers. It may be shared between threads. It belongs to the process
 that opened it: in a forked child every call fails with ONCEWARD_CLOSED, and the child opens its own.
 */
typedef struct onceward_store onceward_store;

/*
 A subscription of a queue: it sees every message, at its own pace, and is what messages are received from. It may be shared
 between threads.
 */
typedef struct onceward_subscription onceward_subscription;

/*
 A transaction: SQL on the application's own tables, sends to queues of the same store, and acknowledgements, in one commit.

 The write lock is taken at the first statement, not before, and held for at most the store's transaction time limit (5 s
 unless set): then everything is rolled back, and every further call fails with ONCEWARD_EXPIRED. The statements may touch every
 table but those named onceward_...; PRAGMA, ATTACH, BEGIN, COMMIT, SAVEPOINT and TEMP objects are refused. After
 onceward_transaction_commit and onceward_transaction_rollback it is over, whatever they return; it still has to be freed.
 */
typedef struct onceward_transaction onceward_transaction;

/*
 How to consume. Set everything to zero, then size to sizeof(onceward_consume_options), then what you need.
 */
typedef struct {
    /*
     sizeof(onceward_consume_options).
     */
    size_t size;
    /*
     How many messages are received at a time, 1 to 10,000; 0 for 100. On an at-most-once queue those of them that were not handed
     out when the consumer ends are lost, as they are in a crash.
     */
    size_t batch;
    /*
     A lease other than the queue's, in milliseconds, 1 to 43,200,000; 0 for the queue's. It is extended for as long as the consumer
     lives, up to 12 h for one batch.
     */
    int64_t lease_ms;
} onceward_consume_options;

/*
 A header of a message, given or seen. It comes back as what it went. Names and values together take 64 KiB at most.
 */
typedef struct {
    /*
     The name: UTF-8, ended by NUL, 1 to 512 bytes. (A name that holds a NUL, sent from another language, is seen up to it.)
     */
    const char *name;
    /*
     The value. Seen text is followed by a NUL that value_size does not count.
     */
    const void *value;
    /*
     How many bytes the value has.
     */
    size_t value_size;
    /*
     ONCEWARD_HEADER_BYTES or ONCEWARD_HEADER_TEXT.
     */
    int32_t value_type;
} onceward_header;

/*
 A message as it is seen. The pointers are the handle's that it was asked of, and live as long as that handle.
 */
typedef struct {
    /*
     The id: unique in the file, for ever, below 2^53.
     */
    uint64_t id;
    /*
     The fencing token of this delivery; 0 for a message that is not in your hands.
     */
    uint64_t token;
    /*
     The body, as it was sent. It is followed by no NUL.
     */
    const void *body;
    /*
     How many bytes the body has.
     */
    size_t body_size;
    /*
     The deduplication key it was sent with, or NULL.
     */
    const char *key;
    /*
     The ordering key it was sent with, or NULL.
     */
    const char *ordering_key;
    /*
     The headers, in the order of their names.
     */
    const onceward_header *headers;
    /*
     How many headers there are.
     */
    size_t header_count;
    /*
     When it was sent, in milliseconds since 1970 by the sender's clock.
     */
    int64_t sent_at_ms;
    /*
     When the lease ends, in milliseconds since 1970, as of the receive; 0 for a message that is not in your hands.
     */
    int64_t lease_expires_at_ms;
    /*
     Which delivery this is, from 1; of a message that is not in your hands, how often it was delivered so far.
     */
    uint32_t attempt;
    /*
     The priority, 0 (taken first) to 9.
     */
    uint32_t priority;
} onceward_message_view;

/*
 An effect of which nobody knows, or knew, whether it happened. The pointers live as long as the list.
 */
typedef struct {
    /*
     The number of this doubt, to resolve it by. An effect that comes to be in doubt again has another.
     */
    uint64_t doubt;
    /*
     The message's id; 0 in a ledger.
     */
    uint64_t message;
    /*
     The message's queue; NULL in a ledger.
     */
    const char *queue;
    /*
     The message's subscription; NULL in a ledger, and when it was ended meanwhile.
     */
    const char *subscription;
    /*
     The ledger; NULL for a message's effect.
     */
    const char *ledger;
    /*
     The effect's name; in a ledger, its key.
     */
    const char *name;
    /*
     What is known of it.
     */
    const char *error;
    /*
     Since when it is in doubt, in milliseconds since 1970.
     */
    int64_t since_ms;
    /*
     When the first call was begun that may have happened, in milliseconds since 1970; 0 in a resolution.
     */
    int64_t called_at_ms;
    /*
     The process that made the last call; 0 in a resolution.
     */
    uint32_t process;
    /*
     The message's deduplication key: what the third party may know the effect by. NULL in a ledger (where the name is the
     key), in a resolution, for a message without one, and once the message is gone.
     */
    const char *key;
} onceward_doubt_view;

/*
 How a doubt was resolved. The pointers live as long as the list.
 */
typedef struct {
    /*
     ONCEWARD_APPLIED or ONCEWARD_NOT_APPLIED.
     */
    int32_t resolution;
    /*
     The effect's result, followed by a NUL that result_size does not count; NULL when it did not happen.
     */
    const void *result;
    /*
     How many bytes the result has.
     */
    size_t result_size;
    /*
     How it was found out.
     */
    const char *evidence;
    /*
     Who did.
     */
    const char *actor;
    /*
     When it was resolved, in milliseconds since 1970.
     */
    int64_t resolved_at_ms;
} onceward_resolution_view;

/*
 How an effect is made once. Set everything to zero, then size to sizeof(onceward_once_options), then on_unknown, which has no
 default, and what else you need.
 */
typedef struct {
    /*
     sizeof(onceward_once_options).
     */
    size_t size;
    /*
     What becomes of an effect whose outcome nobody knows: ONCEWARD_PARK, ONCEWARD_PROBE or ONCEWARD_FAIL. Required: only you know
     the third party.
     */
    int32_t on_unknown;
    /*
     With ONCEWARD_PROBE, and required there: "it did not happen" counts only when it was asked this many milliseconds after the
     earlier caller was found to be gone. Choose it longer than any request can take to arrive and be carried out.
     */
    int64_t settle_ms;
    /*
     For how many milliseconds the third party recognises repetitions by the idempotency key; 0 when it does not. Within this time of
     the first call an unknown outcome is simply called again. Declare it shorter than the third party does.
     */
    int64_t idempotent_for_ms;
    /*
     Of a ledger only: how many milliseconds to wait for somebody who is at the same effect, at most 24 h; 0 for not at all.
     */
    int64_t wait_ms;
    /*
     Of a ledger only: what is asked of the third party, or NULL. The same key with another request is a conflict.
     */
    const void *request;
    /*
     How many bytes the request has.
     */
    size_t request_size;
} onceward_once_options;

/*
 A ledger's settings. Set everything to zero, then size to sizeof(onceward_ledger_options), then what you need.
 */
typedef struct {
    /*
     sizeof(onceward_ledger_options).
     */
    size_t size;
    /*
     How many milliseconds an effect that is done is remembered, or ONCEWARD_FOREVER; 0 for what stands in the file. Default: for
     ever. What is in doubt is never forgotten.
     */
    int64_t window_ms;
} onceward_ledger_options;

/*
 A call at a third party, or a probe of one. It is given the context that was passed along, and where to put down what came of it;
 it returns one of ONCEWARD_CALL_DONE and so on, or of ONCEWARD_PROBE_APPLIED and so on. Any other number counts as unknown.

 It runs on the thread that asked for the effect. It may call this library. No C++ exception may leave it: the process ends
 then, and the effect is in doubt. What a longjmp out of it does is undefined.
 */
typedef int32_t (*onceward_callback)(void *context, onceward_outcome *outcome);

/*
 A message that is not delivered any more, and why. The pointers live as long as the list.
 */
typedef struct {
    /*
     Why it is dead: UTF-8, ended by NUL.
     */
    const char *reason;
    /*
     The error text of its last nack, or NULL.
     */
    const char *error;
    /*
     When it died, in milliseconds since 1970.
     */
    int64_t died_at_ms;
} onceward_dead_letter_view;

/*
 What a queue's settings should be. Set everything to zero, then size to sizeof(onceward_queue_options), then what you need:
 what is zero stays as it stands in the file, or takes its default.
 */
typedef struct {
    /*
     sizeof(onceward_queue_options).
     */
    size_t size;
    /*
     How many milliseconds a delivery is the receiver's alone, 1 to 43,200,000 (12 h). Default: 30,000.
     */
    int64_t lease_ms;
    /*
     How often a message is delivered before it goes to the dead letters, 1 to 1,000,000, or ONCEWARD_UNLIMITED. Default: 20.
     */
    int64_t attempts_max;
    /*
     How many milliseconds deduplication keys are remembered, or ONCEWARD_FOREVER. Default: for ever on exactly-once queues, a
     day on the others.
     */
    int64_t deduplication_window_ms;
    /*
     Not zero when the four values of the backoff are set.
     */
    int32_t has_backoff;
    /*
     How many milliseconds a message waits after its first failure. Default: 1,000.
     */
    int64_t backoff_first_ms;
    /*
     What each further wait is multiplied by, 1 to 100. Default: 2.
     */
    double backoff_factor;
    /*
     The longest wait, in milliseconds. Default: 3,600,000 (1 h).
     */
    int64_t backoff_cap_ms;
    /*
     The share of the wait that is random, 0 to 1. Default: 0.5.
     */
    double backoff_jitter;
    /*
     The names of the subscriptions to create the queue with, instead of the one named "default"; NULL for that.
     */
    const char *const *subscriptions;
    /*
     How many subscriptions are named, at most 1,000.
     */
    size_t subscription_count;
} onceward_queue_options;

/*
 A queue's settings, as they stand in the file.
 */
typedef struct {
    /*
     ONCEWARD_AT_MOST_ONCE, ONCEWARD_AT_LEAST_ONCE or ONCEWARD_EXACTLY_ONCE.
     */
    int32_t semantics;
    /*
     Not zero when receiving is paused.
     */
    int32_t is_paused;
    /*
     How many milliseconds a delivery is the receiver's alone.
     */
    int64_t lease_ms;
    /*
     How often a message is delivered before it goes to the dead letters, or ONCEWARD_UNLIMITED.
     */
    int64_t attempts_max;
    /*
     How many milliseconds deduplication keys are remembered, or ONCEWARD_FOREVER.
     */
    int64_t deduplication_window_ms;
    /*
     How many milliseconds a message waits after its first failure.
     */
    int64_t backoff_first_ms;
    /*
     What each further wait is multiplied by.
     */
    double backoff_factor;
    /*
     The longest wait, in milliseconds.
     */
    int64_t backoff_cap_ms;
    /*
     The share of the wait that is random, 0 to 1.
     */
    double backoff_jitter;
} onceward_queue_settings;

/*
 A message to send. Set everything to zero, then size to sizeof(onceward_message), then what it needs. All of it is copied
 during the call.
 */
typedef struct {
    /*
     sizeof(onceward_message).
     */
    size_t size;
    /*
     The body: any bytes; NULL for none.
     */
    const void *body;
    /*
     How many bytes the body has: at most 1 MiB, unless the store was opened with another limit.
     */
    size_t body_size;
    /*
     The deduplication key, or NULL: a second send with it, within the queue's window, is the same message. Required on an
     exactly-once queue. 1 to 512 bytes.
     */
    const char *key;
    /*
     The ordering key, or NULL: messages that share one are handed over in commit order, across retries. 1 to 512 bytes.
     */
    const char *ordering_key;
    /*
     The headers; NULL for none.
     */
    const onceward_header *headers;
    /*
     How many headers there are.
     */
    size_t header_count;
    /*
     Offers the message only after this many milliseconds, at most ten years; 0 for at once.
     */
    int64_t delay_ms;
    /*
     Offers the message only from this time on, in milliseconds since 1970; 0 for at once. Excludes delay_ms.
     */
    int64_t deliver_at_ms;
    /*
     Dead-letters the message (at-most-once: drops it) when it was not finished within this many milliseconds; 0 for never.
     */
    int64_t time_to_live_ms;
    /*
     Not zero when priority is set.
     */
    int32_t has_priority;
    /*
     The priority, 0 (taken first) to 9; 4 when it is not set. Excludes an ordering key, unless it is 4.
     */
    int32_t priority;
} onceward_message;

/*
 What became of one message of several that were sent.
 */
typedef struct {
    /*
     The id: the message's, or the earlier one's of which it is a duplicate.
     */
    uint64_t id;
    /*
     Not zero when the queue remembered the key, and nothing was written.
     */
    int32_t is_duplicate;
} onceward_sent;

/*
 How to receive. Set everything to zero, then size to sizeof(onceward_receive_options), then what you need.
 */
typedef struct {
    /*
     sizeof(onceward_receive_options).
     */
    size_t size;
    /*
     At most this many messages, 1 to 10,000, as one batch under one lease; 0 for 1.
     */
    size_t max;
    /*
     How many milliseconds to wait for a first message, at most 24 h; 0 for not at all.
     */
    int64_t wait_ms;
    /*
     A lease other than the queue's, in milliseconds, 1 to 43,200,000; 0 for the queue's.
     */
    int64_t lease_ms;
} onceward_receive_options;

/*
 What a receiver shows to settle a delivery: the message, and the token it was given with it. Both are in the view.
 */
typedef struct {
    /*
     The message's id.
     */
    uint64_t message;
    /*
     The fencing token of this delivery of it.
     */
    uint64_t token;
} onceward_receipt;

/*
 How to open a store. Set everything to zero, then size to sizeof(onceward_store_options), then what you need: zero stands
 for the default.
 */
typedef struct {
    /*
     sizeof(onceward_store_options).
     */
    size_t size;
    /*
     How many milliseconds a call waits for other writers before it fails with ONCEWARD_BUSY. Default: 5,000.
     */
    int64_t busy_timeout_ms;
    /*
     How many milliseconds a transaction may take from its first statement on. Default: 5,000.
     */
    int64_t transaction_time_limit_ms;
    /*
     The longest body that this store sends, in bytes. Default: 1 MiB; at most 256 MiB.
     */
    size_t body_bytes_max;
    /*
     The write-ahead log's size past which sends fail with ONCEWARD_FULL, in bytes. Default: 256 MiB; at least 32 MiB.
     */
    uint64_t wal_bytes_max;
    /*
     Not zero to fail with ONCEWARD_NOT_FOUND where the file is missing, instead of creating it with mode 0600.
     */
    int32_t must_exist;
    /*
     Not zero to open the file even on NFS, SMB and the like, where it is safe for processes of one machine at best.
     */
    int32_t allow_remote_file_system;
} onceward_store_options;

/*
 What can be said of the whole file.
 */
typedef struct {
    /*
     The database's size on disk, in bytes; in memory, of its pages.
     */
    uint64_t file_bytes;
    /*
     The size of the part of the write-ahead log in use, in bytes.
     */
    uint64_t wal_bytes;
    /*
     Effects at third parties whose outcome is not known.
     */
    uint64_t in_doubt;
    /*
     The number of queues.
     */
    uint64_t queues;
} onceward_store_stats;

/*
 What can be counted of a subscription, by arithmetic, without reading its messages.
 */
typedef struct {
    /*
     Messages that a receive would bring now, if the queue is not paused.
     */
    uint64_t ready;
    /*
     Messages that wait for a time: a delay, or a retry.
     */
    uint64_t delayed;
    /*
     Messages that wait for an earlier one with their ordering key.
     */
    uint64_t blocked;
    /*
     Messages in the hands of receivers.
     */
    uint64_t in_flight;
    /*
     Dead letters.
     */
    uint64_t dead;
    /*
     Effects at third parties whose outcome is not known.
     */
    uint64_t in_doubt;
    /*
     The age of the oldest message that is neither finished nor dead, in milliseconds; -1 when there is none.
     */
    int64_t oldest_age_ms;
} onceward_stats;

/*
 A value of SQLite, as a parameter or in a row.
 */
typedef struct {
    /*
     ONCEWARD_NULL, ONCEWARD_INTEGER, ONCEWARD_REAL, ONCEWARD_TEXT or ONCEWARD_BLOB.
     */
    int32_t value_type;
    /*
     The integer.
     */
    int64_t integer;
    /*
     The floating-point number.
     */
    double real;
    /*
     The text or the bytes. What comes from a row is followed by a NUL that `size` does not count.
     */
    const void *data;
    /*
     How many bytes `data` has.
     */
    size_t size;
} onceward_value;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 Begins to consume. `options` may be NULL. `*consumer` is yours: close it with onceward_consumer_close, free it with
 onceward_consumer_free.

 ONCEWARD_INVALID for an option out of range.
 */
int32_t onceward_subscription_consume(const onceward_subscription *subscription,
                                      const onceward_consume_options *options,
                                      onceward_consumer **consumer);

/*
 The next message, waiting up to `wait_ms` milliseconds for it (at most 24 h). Settle it like any other; its acknowledgement is noted.
 Free `*delivery` with onceward_delivery_free.

 ONCEWARD_EMPTY, which is no error, when nothing came, and after onceward_consumer_stop. ONCEWARD_LEASE_LOST for a noted
 acknowledgement that came too late: its message is delivered again; go on. ONCEWARD_NOT_FOUND when the subscription was ended;
 ONCEWARD_BUSY when others kept the store busy; ONCEWARD_INVALID when the consumer is closed.
 */
int32_t onceward_consumer_receive(const onceward_consumer *consumer,
                                  int64_t wait_ms,
                                  onceward_delivery **delivery);

/*
 Commits the noted acknowledgements now, also while a receive waits in another thread. One that came too late is the next receive's
 ONCEWARD_LEASE_LOST.

 ONCEWARD_NOT_FOUND when the subscription was ended; ONCEWARD_BUSY or ONCEWARD_FULL, and then they stay noted; ONCEWARD_INVALID when
 the consumer is closed. With nothing noted nothing is done, and it succeeds, also when the store is closed; in a forked child it is
 ONCEWARD_CLOSED.
 */
int32_t onceward_consumer_flush(const onceward_consumer *consumer);

/*
 Ends the receive that waits in another thread, and every later one, with ONCEWARD_EMPTY. Waits for nothing.

 ONCEWARD_INVALID for what is no living handle, and no other error.
 */
int32_t onceward_consumer_stop(const onceward_consumer *consumer);

/*
 Ends: a receive that waits in another thread comes back, the noted acknowledgements are committed, messages that were not handed out
 are released, and those that were handed out and not settled are given back as failed. Closing again does nothing. The handle still
 has to be freed.

 ONCEWARD_LEASE_LOST for the first noted acknowledgement that came too late; ONCEWARD_NOT_FOUND for noted ones of a subscription that
 was ended; ONCEWARD_CLOSED in a forked child. It is closed all the same, but for there.
 */
int32_t onceward_consumer_close(const onceward_consumer *consumer);

/*
 Frees the handle; NULL is left alone. A consumer that was not closed is closed as well as it can be.
 */
void onceward_consumer_free(onceward_consumer *consumer);

/*
 The message, into `*view`, whose pointers live as long as the handle. `view_size` is sizeof(onceward_message_view).

 ONCEWARD_INVALID for a size out of range, and no other error: it looks at what is in memory.
 */
int32_t onceward_delivery_get(const onceward_delivery *delivery,
                              onceward_message_view *view,
                              size_t view_size);

/*
 Acknowledges: the message is done and never delivered again. On an exactly-once queue that is on disk when this returns.

 ONCEWARD_LEASE_LOST when the message was meanwhile given to someone else or finished.
 */
int32_t onceward_delivery_ack(const onceward_delivery *delivery);

/*
 Gives the message back as failed: it is offered again after `delay_ms` milliseconds (at most ten years), or with
 ONCEWARD_BACKOFF after the queue's backoff, or dead-lettered when its attempts are used up. `error`, at most 4 KiB, is kept with
 it and shown with a dead letter; it may be NULL.

 ONCEWARD_LEASE_LOST; ONCEWARD_INVALID on an at-most-once queue, or for a delay or text over its limit.
 */
int32_t onceward_delivery_nack(const onceward_delivery *delivery,
                               int64_t delay_ms,
                               const char *error);

/*
 Dead-letters the message at once, with a reason of at most 4 KiB.

 ONCEWARD_LEASE_LOST; ONCEWARD_INVALID on an at-most-once queue, or for a reason over its limit.
 */
int32_t onceward_delivery_dead_letter(const onceward_delivery *delivery, const char *reason);

/*
 Gives the message back unused: it is due at once, and this delivery does not count as an attempt.

 ONCEWARD_LEASE_LOST; ONCEWARD_INVALID on an at-most-once queue.
 */
int32_t onceward_delivery_release(const onceward_delivery *delivery);

/*
 Makes the lease end `lease_ms` milliseconds from now, 1 to 43,200,000.

 ONCEWARD_LEASE_LOST; ONCEWARD_INVALID on an at-most-once queue, for a lease out of range, and for a delivery that was settled.
 */
int32_t onceward_delivery_extend(const onceward_delivery *delivery,
                                 int64_t lease_ms);

/*
 Whether the delivery was settled through a handle of it: 1 when it was, by one of the calls above, by its transaction, or by
 an effect that is in doubt; else 0, also for what is no living handle.
 */
int32_t onceward_delivery_is_settled(const onceward_delivery *delivery);

/*
 A key for third parties that recognise repetitions by one, into `key`, which has room for `key_size` bytes, at least
 ONCEWARD_IDEMPOTENCY_KEY_SIZE: the same in every delivery of this message to its subscription, across retries, crashes and
 redrives, and no other effect's. It has the form of a UUID. `name` is the effect's.

 ONCEWARD_INVALID for a name out of its limits, or when there is too little room.
 */
int32_t onceward_delivery_idempotency_key(const onceward_delivery *delivery,
                                          const char *name,
                                          char *key,
                                          size_t key_size);

/*
 The subscription that the delivery was received from, as a handle of its own: free `*subscription` with
 onceward_subscription_free.

 ONCEWARD_INVALID for what is no living handle, and no other error: whether the subscription still exists, its own calls say.
 */
int32_t onceward_delivery_subscription(const onceward_delivery *delivery,
                                       onceward_subscription **subscription);

/*
 Frees the handle; NULL is left alone. It settles nothing.
 */
void onceward_delivery_free(onceward_delivery *delivery);

/*
 Lists up to `max` (1 to 10,000) effects in doubt in the order of their numbers, from the one after `after` on; 0 begins at the
 first. What is listed is on disk; the calls of processes that died are looked for first. `*doubts` is yours: free it with
 onceward_doubts_free.

 ONCEWARD_INVALID for a `max` out of range; ONCEWARD_STORAGE also when what was found could not be brought to the disk.
 */
int32_t onceward_store_in_doubt(const onceward_store *store,
                                uint64_t after,
                                size_t max,
                                onceward_doubts **doubts);

/*
 How many doubts the list has; 0 for what is no living handle.
 */
size_t onceward_doubts_count(const onceward_doubts *doubts);

/*
 The doubt at `index`, counted from 0, into `*view`. `view_size` is sizeof(onceward_doubt_view). ONCEWARD_INVALID past the end.
 */
int32_t onceward_doubts_get(const onceward_doubts *doubts,
                            size_t index,
                            onceward_doubt_view *view,
                            size_t view_size);

/*
 Frees the list; NULL is left alone.
 */
void onceward_doubts_free(onceward_doubts *doubts);

/*
 Resolves a doubt: says whether the effect happened, with its result (of ONCEWARD_APPLIED only; at most 1 MiB; it may be empty), the
 evidence, and who says so (each 1 to 4,096 bytes). They are kept for ever. A parked message goes on by itself: its next
 delivery's once returns the result, or makes the call. A dead letter waits to be redriven. The same answer once more changes nothing
 and is no error.

 ONCEWARD_CONFLICT when the doubt was resolved with another answer; ONCEWARD_INVALID when it is over for another reason, or for an
 argument out of its limits; ONCEWARD_NOT_FOUND when there never was such a doubt.
 */
int32_t onceward_store_resolve(const onceward_store *store,
                               uint64_t doubt,
                               int32_t resolution,
                               const void *result,
                               size_t result_size,
                               const char *evidence,
                               const char *actor);

/*
 Lists up to `max` (1 to 10,000) resolutions in the order of their doubts, from the one after `after` on; 0 begins at the first.
 `*resolutions` is yours: free it with onceward_resolutions_free.

 ONCEWARD_INVALID for a `max` out of range.
 */
int32_t onceward_store_resolutions(const onceward_store *store,
                                   uint64_t after,
                                   size_t max,
                                   onceward_resolutions **resolutions);

/*
 How many resolutions the list has; 0 for what is no living handle.
 */
size_t onceward_resolutions_count(const onceward_resolutions *resolutions);

/*
 The doubt of the resolution at `index`, counted from 0, into `*view`. `view_size` is sizeof(onceward_doubt_view). ONCEWARD_INVALID
 past the end.
 */
int32_t onceward_resolutions_get(const onceward_resolutions *resolutions,
                                 size_t index,
                                 onceward_doubt_view *view,
                                 size_t view_size);

/*
 How the doubt of the resolution at `index` was resolved, into `*answer`. `answer_size` is sizeof(onceward_resolution_view).
 ONCEWARD_INVALID past the end.
 */
int32_t onceward_resolutions_answer(const onceward_resolutions *resolutions,
                                    size_t index,
                                    onceward_resolution_view *answer,
                                    size_t answer_size);

/*
 Frees the list; NULL is left alone.
 */
void onceward_resolutions_free(onceward_resolutions *resolutions);

/*
 The first half of onceward_delivery_once, for a call that cannot be made within a callback: says in `*todo` what to do now,
 ONCEWARD_TODO_CALL, ONCEWARD_TODO_PROBE or ONCEWARD_TODO_NOTHING. `*effect` is yours where there is something to do, else NULL: free
 it with onceward_effect_free. `result` may be NULL; else `*result` is yours where nothing is to do: free it with
 onceward_bytes_free.

 The statuses are those of onceward_delivery_once before anything is called: ONCEWARD_IN_DOUBT, ONCEWARD_BUSY, ONCEWARD_LEASE_LOST
 and ONCEWARD_INVALID.
 */
int32_t onceward_delivery_once_begin(const onceward_delivery *delivery,
                                     const char *name,
                                     const onceward_once_options *options,
                                     int32_t *todo,
                                     onceward_effect **effect,
                                     onceward_bytes **result);

/*
 The first half of onceward_ledger_once, as onceward_delivery_once_begin is that of onceward_delivery_once.

 The statuses are those of onceward_ledger_once before anything is called: ONCEWARD_IN_DOUBT, ONCEWARD_BUSY, ONCEWARD_CONFLICT and
 ONCEWARD_INVALID.
 */
int32_t onceward_ledger_once_begin(const onceward_ledger *ledger,
                                   const char *key,
                                   const onceward_once_options *options,
                                   int32_t *todo,
                                   onceward_effect **effect,
                                   onceward_bytes **result);

/*
 Says how a call ended: ONCEWARD_CALL_DONE with its result (at most 1 MiB), or ONCEWARD_CALL_FAILED or ONCEWARD_CALL_UNKNOWN with words
 (UTF-8, of which 4 KiB are kept); every other number counts as unknown. It is recorded even when the lease was lost meanwhile.

 ONCEWARD_OK when it is done; ONCEWARD_FAILED and ONCEWARD_IN_DOUBT as from onceward_delivery_once, and so ONCEWARD_INVALID for a result
 that is too long: it happened, and is now in doubt. ONCEWARD_STORAGE, ONCEWARD_FULL or ONCEWARD_BUSY when it could not be recorded yet: it
 is as soon as it can be, while the store is open. Then it has been said: saying it again, or of what is no call, is ONCEWARD_INVALID.
 */
int32_t onceward_effect_ended(const onceward_effect *effect,
                              int32_t outcome,
                              const void *data,
                              size_t data_size);

/*
 Says that the call was never made: as if it had not begun.

 ONCEWARD_STORAGE, ONCEWARD_FULL or ONCEWARD_BUSY when that could not be recorded yet; ONCEWARD_INVALID for what is no call, or has ended.
 */
int32_t onceward_effect_not_called(const onceward_effect *effect);

/*
 Says what the third party answered: ONCEWARD_PROBE_APPLIED with the result, ONCEWARD_PROBE_NOT_APPLIED, or ONCEWARD_PROBE_UNKNOWN with
 words; every other number counts as unknown. `*todo` says what to do now: nothing, or the call, for which the same effect stands then.
 `result` may be NULL; else `*result` is yours where nothing is to do.

 ONCEWARD_IN_DOUBT when the answer is unknown: the message is parked. ONCEWARD_BUSY when "it did not happen" does not count yet: the
 delivery was given back. ONCEWARD_LEASE_LOST; ONCEWARD_INVALID for a result over 1 MiB, and for what is no question, or was answered.
 */
int32_t onceward_effect_probed(const onceward_effect *effect,
                               int32_t answer,
                               const void *data,
                               size_t data_size,
                               int32_t *todo,
                               onceward_bytes **result);

/*
 Frees the handle; NULL is left alone. A call of which it was not said how it ended is in doubt from now on.
 */
void onceward_effect_free(onceward_effect *effect);

/*
 The ledger of this name (1 to 512 bytes), created where it is missing. `options` may be NULL; those that are set are stored in the
 file. `*ledger` is yours: free it with onceward_ledger_free.

 ONCEWARD_INVALID for a name or an option out of its limits. One that exists is opened without waiting for anybody who writes;
 ONCEWARD_BUSY or ONCEWARD_FULL when it is to be created, or an option to be stored.
 */
int32_t onceward_ledger_open(const onceward_store *store,
                             const char *name,
                             const onceward_ledger_options *options,
                             onceward_ledger **ledger);

/*
 Makes the call once for this key (1 to 512 bytes), and keeps its result. Everything that onceward_delivery_once says of names holds
 for keys; there is no message to park or to give up. `result` may be NULL; else `*result` is yours: free it with
 onceward_bytes_free.

 ONCEWARD_IN_DOUBT when nobody knows whether it happened, each time until it is resolved; ONCEWARD_FAILED when the call said that it
 did not; ONCEWARD_BUSY when another caller is still at it after options->wait_ms, or while the probe's "it did not happen" does not
 count yet; ONCEWARD_CONFLICT for another request under the same key; ONCEWARD_INVALID for a key or options out of their limits, and
 for a result over 1 MiB (it happened, and is now in doubt).
 */
int32_t onceward_ledger_once(const onceward_ledger *ledger,
                             const char *key,
                             const onceward_once_options *options,
                             onceward_callback call,
                             onceward_callback probe,
                             void *context,
                             onceward_bytes **result);

/*
 A key for third parties that recognise repetitions by one, into `key`, which has room for `key_size` bytes, at least
 ONCEWARD_IDEMPOTENCY_KEY_SIZE: always the same for this ledger and effect, and no other effect's. It has the form of a UUID.

 ONCEWARD_INVALID for a key out of its limits, or when there is too little room.
 */
int32_t onceward_ledger_idempotency_key(const onceward_ledger *ledger,
                                        const char *effect,
                                        char *key,
                                        size_t key_size);

/*
 Frees the handle; NULL is left alone. The ledger itself stays in the file.
 */
void onceward_ledger_free(onceward_ledger *ledger);

/*
 How many names there are; 0 for what is no living handle.
 */
size_t onceward_names_count(const onceward_names *names);

/*
 The name at `index`, counted from 0; NULL past the end. It lives as long as the list.
 */
const char *onceward_names_get(const onceward_names *names, size_t index);

/*
 Frees the list; NULL is left alone.
 */
void onceward_names_free(onceward_names *names);

/*
 How many messages there are; 0 for what is no living handle.
 */
size_t onceward_messages_count(const onceward_messages *messages);

/*
 The message at `index`, counted from 0, into `*view`, whose pointers live as long as the list. `view_size` is
 sizeof(onceward_message_view). ONCEWARD_INVALID past the end.
 */
int32_t onceward_messages_get(const onceward_messages *messages,
                              size_t index,
                              onceward_message_view *view,
                              size_t view_size);

/*
 Frees the list; NULL is left alone.
 */
void onceward_messages_free(onceward_messages *messages);

/*
 How many dead letters there are; 0 for what is no living handle.
 */
size_t onceward_dead_letters_count(const onceward_dead_letters *letters);

/*
 The message of the dead letter at `index`, counted from 0, into `*view`. `view_size` is sizeof(onceward_message_view).
 ONCEWARD_INVALID past the end.
 */
int32_t onceward_dead_letters_get(const onceward_dead_letters *letters,
                                  size_t index,
                                  onceward_message_view *view,
                                  size_t view_size);

/*
 Why the message at `index` is dead, into `*why`. `why_size` is sizeof(onceward_dead_letter_view). ONCEWARD_INVALID past
 the end.
 */
int32_t onceward_dead_letters_why(const onceward_dead_letters *letters,
                                  size_t index,
                                  onceward_dead_letter_view *why,
                                  size_t why_size);

/*
 Frees the list; NULL is left alone.
 */
void onceward_dead_letters_free(onceward_dead_letters *letters);

/*
 Puts down the result of a call or a probe (at most 1 MiB), or the words that say why it failed or is unknown (UTF-8, of which 4 KiB
 are kept). It is copied. What was put down before is replaced.

 ONCEWARD_INVALID outside of the callback.
 */
int32_t onceward_outcome_set(onceward_outcome *outcome,
                             const void *data,
                             size_t data_size);

/*
 Makes a call at a third party once for this message, under a name (1 to 512 bytes), and keeps its result.

 That the call starts is on disk before it is made, and how it ended before this returns. Asked for again, in a later delivery of
 the message, after a crash, a retry or a redrive, the kept result is returned and nothing is called. When a caller is gone in
 between, nobody knows, and the call is not repeated before somebody does: options->on_unknown says how. `probe` is NULL, unless that
 is ONCEWARD_PROBE. `context` is passed to both. `result` may be NULL; else `*result` is yours: free it with onceward_bytes_free.
 Settle the delivery afterwards.

 ONCEWARD_IN_DOUBT when nobody knows whether it happened; ONCEWARD_FAILED when the call said that it did not; ONCEWARD_BUSY when
 another caller is at it. After ONCEWARD_IN_DOUBT and such an ONCEWARD_BUSY the delivery is settled: parked, dead-lettered or given
 back, as the error says. ONCEWARD_LEASE_LOST before anything is called. ONCEWARD_INVALID for options or a name out of their limits, a
 name used before in this delivery, on an at-most-once queue, and for a result over 1 MiB (it happened, and is now in doubt).
 */
int32_t onceward_delivery_once(const onceward_delivery *delivery,
                               const char *name,
                               const onceward_once_options *options,
                               onceward_callback call,
                               onceward_callback probe,
                               void *context,
                               onceward_bytes **result);

/*
 The bytes, followed by a NUL that onceward_bytes_size does not count. They live as long as the handle; NULL for what is no living
 handle.
 */
const void *onceward_bytes_data(const onceward_bytes *bytes);

/*
 How many bytes there are; 0 for what is no living handle.
 */
size_t onceward_bytes_size(const onceward_bytes *bytes);

/*
 Frees the bytes; NULL is left alone.
 */
void onceward_bytes_free(onceward_bytes *bytes);

/*
 Opens the queue of this name (1 to 512 bytes), creating it where it is missing. `options` may be NULL; those that are set are
 stored in the file. `*queue` is yours: free it with onceward_queue_free.

 ONCEWARD_CONFLICT when the queue exists with other semantics; ONCEWARD_INVALID for a name or an option out of range.
 */
int32_t onceward_queue_open(const onceward_store *store,
                            const char *name,
                            int32_t semantics,
                            const onceward_queue_options *options,
                            onceward_queue **queue);

/*
 Opens a queue that exists, with the semantics it has. `options` may be NULL; those that are set are stored in the file.
 `*queue` is yours: free it with onceward_queue_free.

 ONCEWARD_NOT_FOUND when there is none of that name.
 */
int32_t onceward_queue_open_existing(const onceward_store *store,
                                     const char *name,
                                     const onceward_queue_options *options,
                                     onceward_queue **queue);

/*
 Frees the handle; NULL is left alone. The queue itself stays in the file.
 */
void onceward_queue_free(onceward_queue *queue);

/*
 The queue's name. It lives as long as the handle; NULL for what is no living handle.
 */
const char *onceward_queue_name(const onceward_queue *queue);

/*
 The settings as they stand in the file now, into `*settings`. `settings_size` is sizeof(onceward_queue_settings).

 ONCEWARD_INVALID for a size out of range; ONCEWARD_NOT_FOUND when the file no longer has the queue.
 */
int32_t onceward_queue_get_settings(const onceward_queue *queue,
                                    onceward_queue_settings *settings,
                                    size_t settings_size);

/*
 Sends a message. When it returns, the message is on disk (at-most-once: it is in the file, and a power loss may take it).
 `id` may be NULL; else `*id` is the message's id.

 ONCEWARD_DUPLICATE, which is no error, when the queue remembers the key: nothing was written, and `*id` is the earlier
 message's. ONCEWARD_CONFLICT when the key stands for another body; ONCEWARD_INVALID for a part out of its limits, or without
 a key on an exactly-once queue; ONCEWARD_FULL when the disk is. With ONCEWARD_STORAGE the outcome is unknown: send again with
 the same key.
 */
int32_t onceward_queue_send(const onceward_queue *queue,
                            const onceward_message *message,
                            uint64_t *id);

/*
 Sends messages in one commit: all of them, or, with an error, none. At most 10,000, with bodies of 256 MiB together. `sent`
 may be NULL; else it has room for `count`, in the order of the messages. All messages have the same size.

 As onceward_queue_send; duplicates are marked in `sent`, and the status is ONCEWARD_OK. ONCEWARD_INVALID also for more than one call
 takes, and for messages of several sizes.
 */
int32_t onceward_queue_send_many(const onceward_queue *queue,
                                 const onceward_message *messages,
                                 size_t count,
                                 onceward_sent *sent);

/*
 Takes a message away that is not in flight, for every subscription. Its key stays remembered.

 ONCEWARD_EMPTY, which is no error, when it is finished or dead already; ONCEWARD_CONFLICT when a receiver has it in flight;
 ONCEWARD_INVALID when it belongs to another queue.
 */
int32_t onceward_queue_cancel(const onceward_queue *queue,
                              uint64_t message);

/*
 Takes every message away that is ready, delayed or blocked, for every subscription. What is in flight or dead stays, and keys
 stay remembered. `purged` may be NULL; else `*purged` is how many, counting a message once for each subscription that still
 had it to come.

 ONCEWARD_BUSY or ONCEWARD_FULL; the messages may be out of reach all the same, for their rows leave the file afterwards, in pieces.
 */
int32_t onceward_queue_purge(const onceward_queue *queue,
                             uint64_t *purged);

/*
 Stops handing out messages, for every subscription and in every process, until onceward_queue_resume. Sends and settles go on.

 ONCEWARD_BUSY or ONCEWARD_FULL: then nothing has changed. It is no error when it was paused before.
 */
int32_t onceward_queue_pause(const onceward_queue *queue);

/*
 Hands out messages again.

 ONCEWARD_BUSY or ONCEWARD_FULL: then nothing has changed. It is no error when it was not paused.
 */
int32_t onceward_queue_resume(const onceward_queue *queue);

/*
 The names of the queue's subscriptions, sorted. `*names` is yours: free it with onceward_names_free.

 Gives the common statuses.
 */
int32_t onceward_queue_subscriptions(const onceward_queue *queue, onceward_names **names);

/*
 Ends a subscription. What it had not finished is gone for it, its dead letters too.

 ONCEWARD_NOT_FOUND when there is none of that name; ONCEWARD_INVALID for a queue's last one.
 */
int32_t onceward_queue_unsubscribe(const onceward_queue *queue, const char *name);

/*
 Makes a descriptor for this subscription. It becomes readable for whatever a waiting receive would wake for, from any process:
 messages sent, delays and retries whose time has come, leases that ended, holders that died, a queue that was resumed. Also when
 the store is closed, or the file or the subscription can no longer be used: the next receive says so.

 It stays readable until onceward_readiness_clear finds nothing there. So wait until it is readable, receive until
 ONCEWARD_EMPTY, clear, and wait again: nothing that comes in between is missed. It may be readable for nothing, when another
 receiver came first; then the receive says ONCEWARD_EMPTY.

 `*readiness` is yours: free it with onceward_readiness_free. Any number may be made; each costs a descriptor, and all of a store
 share one thread. ONCEWARD_STORAGE when the process can open no more files or start no more threads.
 */
int32_t onceward_readiness_open(const onceward_subscription *subscription,
                                onceward_readiness **readiness);

/*
 The number of the descriptor, into `*descriptor`; -1 when the call fails. Wait for POLLIN (EPOLLIN). It is the handle's, open as
 long as the handle lives: do not close it, read from it or write to it.

 ONCEWARD_INVALID for what is no living handle, and no other error.
 */
int32_t onceward_readiness_descriptor(const onceward_readiness *readiness,
                                      int32_t *descriptor);

/*
 Makes the descriptor unreadable if there is nothing to receive; it becomes readable again as soon as there may be. Call it when a
 receive brought nothing, before waiting again. Nothing is received and nothing is lost by it.

 ONCEWARD_CLOSED when the store is closed; then, and after every other error, the descriptor stays readable. In a forked child
 ONCEWARD_CLOSED, and the parent's descriptor stays as it is.
 */
int32_t onceward_readiness_clear(const onceward_readiness *readiness);

/*
 Frees the handle and closes its descriptor; NULL is left alone. Take the descriptor out of your event loop first: its number may
 soon be another file's.
 */
void onceward_readiness_free(onceward_readiness *readiness);

/*
 Receives one message, waiting up to `wait_ms` milliseconds for it (at most 24 h). It is yours alone until the queue's lease
 ends: settle it, then free `*delivery` with onceward_delivery_free.

 On an at-most-once queue the message is gone from the file, on disk, before this returns.

 ONCEWARD_EMPTY, which is no error, when there was none: `*delivery` is NULL then. ONCEWARD_NOT_FOUND when the subscription was
 ended; ONCEWARD_BUSY when others kept the store busy.
 */
int32_t onceward_subscription_receive(const onceward_subscription *subscription,
                                      int64_t wait_ms,
                                      onceward_delivery **delivery);

/*
 Receives up to options->max messages as one batch under one lease. Returns as soon as there is one. Settle them by their
 receipts or through onceward_batch_delivery, then free `*batch` with onceward_batch_free. `options` may be NULL.

 As onceward_subscription_receive, and ONCEWARD_INVALID for an option out of range.
 */
int32_t onceward_subscription_receive_many(const onceward_subscription *subscription,
                                           const onceward_receive_options *options,
                                           onceward_batch **batch);

/*
 How many messages the batch has; 0 for what is no living handle.
 */
size_t onceward_batch_count(const onceward_batch *batch);

/*
 The message at `index`, counted from 0, into `*view`, whose pointers live as long as the batch. `view_size` is
 sizeof(onceward_message_view). ONCEWARD_INVALID past the end.
 */
int32_t onceward_batch_get(const onceward_batch *batch,
                           size_t index,
                           onceward_message_view *view,
                           size_t view_size);

/*
 The delivery at `index`, counted from 0, as a handle of its own: to settle it alone, or to begin a transaction or an effect.
 Free `*delivery` with onceward_delivery_free; it may outlive the batch. ONCEWARD_INVALID past the end.
 */
int32_t onceward_batch_delivery(const onceward_batch *batch,
                                size_t index,
                                onceward_delivery **delivery);

/*
 The receipts of all messages of the batch, in its order, into `receipts`, which has room for `count`: that of
 onceward_batch_count. With them the whole batch is settled in one call. ONCEWARD_INVALID when there is too little room.
 */
int32_t onceward_batch_receipts(const onceward_batch *batch,
                                onceward_receipt *receipts,
                                size_t count);

/*
 Frees the batch; NULL is left alone. It settles nothing: what was not settled is offered again when the lease has ended.
 */
void onceward_batch_free(onceward_batch *batch);

/*
 Acknowledges deliveries in one commit: each is done and never delivered again. At most 10,000.

 ONCEWARD_SOME_LOST, which is no error of the call, when some had lost their lease: these are written to `lost`, which has room
 for `count` receipts, and `*lost_count` says how many; both may be NULL. All others are done. The same call repeated gives the
 same answer. ONCEWARD_INVALID for a message of another queue, or for too many; ONCEWARD_NOT_FOUND when the subscription was ended;
 then nothing is settled.
 */
int32_t onceward_subscription_ack(const onceward_subscription *subscription,
                                  const onceward_receipt *receipts,
                                  size_t count,
                                  onceward_receipt *lost,
                                  size_t *lost_count);

/*
 Gives deliveries back as failed, in one commit: as onceward_delivery_nack. `lost` and the statuses are as of
 onceward_subscription_ack, and ONCEWARD_INVALID on an at-most-once queue.
 */
int32_t onceward_subscription_nack(const onceward_subscription *subscription,
                                   const onceward_receipt *receipts,
                                   size_t count,
                                   int64_t delay_ms,
                                   const char *error,
                                   onceward_receipt *lost,
                                   size_t *lost_count);

/*
 Dead-letters deliveries in one commit, with a reason of at most 4 KiB. `lost` and the statuses are as of
 onceward_subscription_ack, and ONCEWARD_INVALID on an at-most-once queue.
 */
int32_t onceward_subscription_dead_letter(const onceward_subscription *subscription,
                                          const onceward_receipt *receipts,
                                          size_t count,
                                          const char *reason,
                                          onceward_receipt *lost,
                                          size_t *lost_count);

/*
 Gives deliveries back unused, in one commit: due at once, the attempt not counted. `lost` and the statuses are as of
 onceward_subscription_ack, and ONCEWARD_INVALID on an at-most-once queue.
 */
int32_t onceward_subscription_release(const onceward_subscription *subscription,
                                      const onceward_receipt *receipts,
                                      size_t count,
                                      onceward_receipt *lost,
                                      size_t *lost_count);

/*
 Makes the leases end `lease_ms` milliseconds from now, 1 to 43,200,000, in one commit. `lost` and the statuses are as of
 onceward_subscription_ack, and ONCEWARD_INVALID on an at-most-once queue.
 */
int32_t onceward_subscription_extend(const onceward_subscription *subscription,
                                     const onceward_receipt *receipts,
                                     size_t count,
                                     int64_t lease_ms,
                                     onceward_receipt *lost,
                                     size_t *lost_count);

/*
 The status of the last call that failed on this thread; ONCEWARD_OK when none has. Successful calls leave it as it is.
 */
int32_t onceward_error_status(void);

/*
 What happened in the last call that failed on this thread: lowercase UTF-8, naming the value and the limit. Empty when
 none has failed. Never NULL. It stands until the next call that fails on this thread, or until the thread ends.
 */
const char *onceward_error_message(void);

/*
 The name of a status, the same in every language: "LeaseLost" for ONCEWARD_LEASE_LOST, for instance. "Unknown" for a
 number that is none. A constant; never NULL.
 */
const char *onceward_status_name(int32_t status);

/*
 The version of the binary interface that this library has. Compare it with ONCEWARD_ABI_VERSION of your header.
 */
uint32_t onceward_abi_version(void);

/*
 The version of the library, "0.1.0" for instance. A constant.
 */
const char *onceward_version(void);

/*
 The version of the SQLite inside. A constant.
 */
const char *onceward_sqlite_version(void);

/*
 Opens the file, creating it where it is missing. The path ":memory:" opens a store in memory, for tests. `options` may be
 NULL. `*store` is yours: close it with onceward_store_close, free it with onceward_store_free.

 ONCEWARD_INVALID for a directory, for another application's file, or for an option out of range; ONCEWARD_NOT_FOUND for
 a missing folder, or a missing file that must exist; ONCEWARD_DENIED, ONCEWARD_CORRUPT, ONCEWARD_UNSUPPORTED, ONCEWARD_BUSY.
 */
int32_t onceward_store_open(const char *path,
                            const onceward_store_options *options,
                            onceward_store **store);

/*
 Closes the store for every handle made from it: what it held in flight is offered again, and every later call fails with
 ONCEWARD_CLOSED. Closing again does nothing, and nothing is done in a forked child. The handles, this one too, still have to be freed.

 ONCEWARD_STORAGE when the file could not be brought to an end as it should; it is closed all the same.
 */
int32_t onceward_store_close(const onceward_store *store);

/*
 Frees the handle; NULL is left alone. The store stays open as long as a handle made from it lives, unless it was closed.
 */
void onceward_store_free(onceward_store *store);

/*
 The names of all queues, sorted. `*names` is yours: free it with onceward_names_free.

 Gives the common statuses.
 */
int32_t onceward_store_queues(const onceward_store *store, onceward_names **names);

/*
 The names of all ledgers, sorted. `*names` is yours: free it with onceward_names_free.

 Gives the common statuses.
 */
int32_t onceward_store_ledgers(const onceward_store *store, onceward_names **names);

/*
 Statistics of the whole file, into `*stats`. `stats_size` is sizeof(onceward_store_stats).

 ONCEWARD_INVALID for a size out of range.
 */
int32_t onceward_store_get_stats(const onceward_store *store, onceward_store_stats *stats, size_t stats_size);

/*
 A subscription that exists. `name` may be NULL: then the one named "default", which a queue has unless it was created with
 others instead. `*subscription` is yours: free it with onceward_subscription_free.

 ONCEWARD_NOT_FOUND when there is none of that name; the error's message lists those there are.
 */
int32_t onceward_subscription_open(const onceward_queue *queue,
                                   const char *name,
                                   onceward_subscription **subscription);

/*
 The subscription of this name (1 to 512 bytes), created where it is missing, beginning at `start`: ONCEWARD_START_NOW or
 ONCEWARD_START_OLDEST. Each subscription sees every message from its start on. `*subscription` is yours: free it with
 onceward_subscription_free.

 ONCEWARD_INVALID for a name out of its limits, or when the queue has 1,000 already.
 */
int32_t onceward_subscription_create(const onceward_queue *queue,
                                     const char *name,
                                     int32_t start,
                                     onceward_subscription **subscription);

/*
 Frees the handle; NULL is left alone. The subscription itself stays in the file.
 */
void onceward_subscription_free(onceward_subscription *subscription);

/*
 Counts, without reading messages, into `*stats`. `stats_size` is sizeof(onceward_stats).

 ONCEWARD_NOT_FOUND when the subscription was ended.
 */
int32_t onceward_subscription_get_stats(const onceward_subscription *subscription,
                                        onceward_stats *stats,
                                        size_t stats_size);

/*
 Looks at up to `max` (1 to 10,000) messages that a receive would bring, in its order, without taking them. `*messages` is
 yours: free it with onceward_messages_free.

 ONCEWARD_INVALID for a `max` out of range. A subscription that was ended has no messages, which is no error.
 */
int32_t onceward_subscription_peek(const onceward_subscription *subscription,
                                   size_t max,
                                   onceward_messages **messages);

/*
 Lists up to `max` (1 to 10,000) dead letters in the order of their ids, from the one after the id `after` on; 0 begins at the
 first. `*letters` is yours: free it with onceward_dead_letters_free.

 ONCEWARD_INVALID for a `max` out of range, or an `after` that is no message's id. A subscription that was ended has no dead letters,
 which is no error.
 */
int32_t onceward_subscription_dead_letters(const onceward_subscription *subscription,
                                           uint64_t after,
                                           size_t max,
                                           onceward_dead_letters **letters);

/*
 Offers dead letters again, under their ids, with their attempts counted anew and without a time to live. `done` may be NULL;
 else `*done` is how many there were.

 ONCEWARD_INVALID for a message of another queue, or for more than 10,000; ONCEWARD_NOT_FOUND when the subscription was ended; then
 none is redriven.
 */
int32_t onceward_subscription_redrive(const onceward_subscription *subscription,
                                      const uint64_t *messages,
                                      size_t count,
                                      uint64_t *done);

/*
 Offers all dead letters again. `done` may be NULL; else `*done` is how many there were.

 ONCEWARD_NOT_FOUND when the subscription was ended. With ONCEWARD_BUSY, ONCEWARD_FULL or ONCEWARD_STORAGE some may be offered again
 all the same, for there is a commit for each 1,000: call it again.
 */
int32_t onceward_subscription_redrive_all(const onceward_subscription *subscription,
                                          uint64_t *done);

/*
 Throws dead letters away. `done` may be NULL; else `*done` is how many there were.

 ONCEWARD_INVALID for a message of another queue, or for more than 10,000; ONCEWARD_NOT_FOUND when the subscription was ended; then
 none is thrown away.
 */
int32_t onceward_subscription_purge_dead(const onceward_subscription *subscription,
                                         const uint64_t *messages,
                                         size_t count,
                                         uint64_t *done);

/*
 Throws all dead letters away. `done` may be NULL; else `*done` is how many there were.

 ONCEWARD_NOT_FOUND when the subscription was ended. With ONCEWARD_BUSY, ONCEWARD_FULL or ONCEWARD_STORAGE some may be gone all the
 same, for there is a commit for each 1,000: call it again.
 */
int32_t onceward_subscription_purge_dead_all(const onceward_subscription *subscription,
                                             uint64_t *done);

/*
 Of these messages, those that could still be delivered to this subscription, into `unfinished`, which has room for `count`;
 `*unfinished_count` is how many. The others are finished, for ever and on disk: what was kept elsewhere to recognise a
 repeat of them may be deleted. `messages` and `unfinished` may be the same array.

 ONCEWARD_INVALID for a message of another queue, or for more than 10,000; ONCEWARD_NOT_FOUND when the subscription was ended.
 */
int32_t onceward_subscription_unfinished(const onceward_subscription *subscription,
                                         const uint64_t *messages,
                                         size_t count,
                                         uint64_t *unfinished,
                                         size_t *unfinished_count);

/*
 Begins a transaction. Nothing is locked before its first statement. `*transaction` is yours: commit it or roll it back, then
 free it with onceward_transaction_free.

 ONCEWARD_CLOSED or ONCEWARD_DETACHED; the file itself is first looked at by a statement.
 */
int32_t onceward_store_transaction(const onceward_store *store,
                                   onceward_transaction **transaction);

/*
 Begins a transaction whose commit also acknowledges this delivery: the effects and the acknowledgement happen together, or not
 at all. `*transaction` is yours: commit it or roll it back, then free it with onceward_transaction_free.

 ONCEWARD_INVALID when the delivery was settled; ONCEWARD_CLOSED or ONCEWARD_DETACHED. Whether the delivery was lost, the commit says.
 */
int32_t onceward_delivery_transaction(const onceward_delivery *delivery,
                                      onceward_transaction **transaction);

/*
 Runs one statement; `parameters` fill its `?` marks. `changed` may be NULL; else `*changed` is how many rows it changed.

 ONCEWARD_SQL when the statement fails or is not allowed; ONCEWARD_BUSY when the write lock was not to be had; ONCEWARD_EXPIRED past
 the time limit; ONCEWARD_INVALID when the transaction is over.
 */
int32_t onceward_transaction_execute(const onceward_transaction *transaction,
                                     const char *sql,
                                     const onceward_value *parameters,
                                     size_t count,
                                     uint64_t *changed);

/*
 Runs one statement `set_count` times: with the first `count` of the parameters, then with the next `count`, and so on.
 `changed` may be NULL; else `*changed` is how many rows they changed together.

 As onceward_transaction_execute: ONCEWARD_SQL, ONCEWARD_BUSY, ONCEWARD_EXPIRED, ONCEWARD_INVALID, this also when `count` is 0. The
 sets before a failing one have been run, and are committed only if you commit.
 */
int32_t onceward_transaction_execute_many(const onceward_transaction *transaction,
                                          const char *sql,
                                          const onceward_value *parameters,
                                          size_t count,
                                          size_t set_count,
                                          uint64_t *changed);

/*
 Runs one query and returns all its rows; it sees what the transaction wrote. `*rows` is yours: free it with onceward_rows_free.

 As onceward_transaction_execute: ONCEWARD_SQL, ONCEWARD_BUSY, ONCEWARD_EXPIRED, ONCEWARD_INVALID.
 */
int32_t onceward_transaction_query(const onceward_transaction *transaction,
                                   const char *sql,
                                   const onceward_value *parameters,
                                   size_t count,
                                   onceward_rows **rows);

/*
 Sends a message that exists if and only if the transaction commits. `id` may be NULL; else `*id` is the message's id.

 As onceward_queue_send, and ONCEWARD_INVALID for a queue of another store.
 */
int32_t onceward_transaction_send(const onceward_transaction *transaction,
                                  const onceward_queue *queue,
                                  const onceward_message *message,
                                  uint64_t *id);

/*
 Acknowledges further deliveries if and only if the transaction commits.

 ONCEWARD_LEASE_LOST when one of them was lost: the whole transaction is then rolled back. ONCEWARD_NOT_FOUND when the subscription was
 ended, and ONCEWARD_INVALID for one of another store; the transaction goes on.
 */
int32_t onceward_transaction_ack(const onceward_transaction *transaction,
                                 const onceward_subscription *subscription,
                                 const onceward_receipt *receipts,
                                 size_t count);

/*
 Commits: everything in it happens together, and is on disk when this returns. With the delivery it was begun from, that is
 acknowledged.

 ONCEWARD_LEASE_LOST when that delivery was lost, ONCEWARD_NOT_FOUND when its subscription was ended: everything is rolled back, and
 nothing of it happened. ONCEWARD_EXPIRED past the time limit. ONCEWARD_INVALID when it is over already. With ONCEWARD_STORAGE the
 outcome is unknown: look.
 */
int32_t onceward_transaction_commit(const onceward_transaction *transaction);

/*
 Rolls back: nothing of it happened. The delivery it was begun from stays in your hands: settle it. One that is over stays as it
 is, which is no error, also when the store is closed.

 ONCEWARD_CLOSED in a forked child; ONCEWARD_INVALID for what is no living handle.
 */
int32_t onceward_transaction_rollback(const onceward_transaction *transaction);

/*
 Frees the handle, and rolls back what was not committed; NULL is left alone.
 */
void onceward_transaction_free(onceward_transaction *transaction);

/*
 How many rows there are; 0 for what is no living handle.
 */
size_t onceward_rows_count(const onceward_rows *rows);

/*
 How many columns the rows have; 0 for what is no living handle.
 */
size_t onceward_rows_column_count(const onceward_rows *rows);

/*
 The name of the column at `column`, counted from 0; NULL past the end. It lives as long as the rows.
 */
const char *onceward_rows_column_name(const onceward_rows *rows, size_t column);

/*
 The value in a row and a column, both counted from 0, into `*value`, whose pointer lives as long as the rows. ONCEWARD_INVALID past
 the end.
 */
int32_t onceward_rows_get(const onceward_rows *rows,
                          size_t row,
                          size_t column,
                          onceward_value *value);

/*
 Frees the rows; NULL is left alone.
 */
void onceward_rows_free(onceward_rows *rows);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ONCEWARD_H */
