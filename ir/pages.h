/* ir/pages.h - large memory in whole pages, which can leave main memory when it has been read. */
#ifndef IR_PAGES_H
#define IR_PAGES_H

#include <stddef.h>

/* `bytes` zeroed bytes from an address of a page; NULL: there is no memory. Freed by pages_free.
 * [any thread] */
void *pages_new(size_t bytes);
void pages_free(void *p, size_t bytes);

/* Says that [data, data + bytes) will be read once more at most. What lies in a mapped file or in
 * memory of pages_new leaves main memory, and comes back when it is read; a part of such memory
 * goes to an unnamed file in $TMPDIR, else in /var/tmp, where that is on a disk with room for it.
 * Other memory stays where it is. Nobody may write to it from then on. [any thread] */
void pages_give_back(const void *data, size_t bytes);

#endif
