// Lets the collector free tasks that ended. MicroPython's queue of tasks leaves in a task that it
// takes out a pointer to its last child (py/pairheap.c: child_last). The collector follows it, so a
// task that waits for long keeps one that ended, with its coroutine and through that one's own
// pointer further ones: the heap in use would depend on the order in which tasks happened to wake.
// The linker (--wrap) puts these in front of the two functions that take a task out of the queue.

#include "py/pairheap.h"

mp_pairheap_t *__real_mp_pairheap_pairing(mp_pairheap_lt_t lt, mp_pairheap_t *child);
mp_pairheap_t *__real_mp_pairheap_delete(mp_pairheap_lt_t lt, mp_pairheap_t *heap, mp_pairheap_t *node);
mp_pairheap_t *__wrap_mp_pairheap_pairing(mp_pairheap_lt_t lt, mp_pairheap_t *child);
mp_pairheap_t *__wrap_mp_pairheap_delete(mp_pairheap_lt_t lt, mp_pairheap_t *heap, mp_pairheap_t *node);

// Called with the children of the first task, which is taken out. In the last of them "next" is that
// task, marked by its lowest bit.
mp_pairheap_t *__wrap_mp_pairheap_pairing(mp_pairheap_lt_t lt, mp_pairheap_t *child) {
    if (child != NULL) {
        mp_pairheap_t *last = child;
        while (!((uintptr_t)last->next & 1)) {
            last = last->next;
        }
        ((mp_pairheap_t *)((uintptr_t)last->next - 1))->child_last = NULL;
    }
    return __real_mp_pairheap_pairing(lt, child);
}

mp_pairheap_t *__wrap_mp_pairheap_delete(mp_pairheap_lt_t lt, mp_pairheap_t *heap, mp_pairheap_t *node) {
    heap = __real_mp_pairheap_delete(lt, heap, node);
    node->child_last = NULL;
    return heap;
}
