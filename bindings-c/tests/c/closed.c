/* After onceward_store_close: every call on every handle that was made from the store says so, and each can be freed. */
#include "everything.h"

int main(void)
{
    struct everything all = everything_in("closed.db");
    OK(onceward_store_close(all.store));
    OK(onceward_store_close(all.store));
    every_call_is_closed(&all);
    what_was_received_can_be_seen(&all);
    /* There is nothing that it would have to commit. */
    OK(onceward_consumer_flush(all.consumer));
    OK(onceward_consumer_stop(all.consumer));
    OK(onceward_consumer_close(all.consumer));
    OK(onceward_transaction_rollback(all.transaction));
    free_everything(&all);
    puts("done");
    return 0;
}
