/* runtime/packs.c - see packs.h. */
#include "runtime/packs.h"
#include "ir/pages.h"
#include "qonnx/base.h"
#ifdef HAVE_ONEDNN
#include "runtime/onednn.h"
#endif
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1024 };

/* One form of one constant. */
typedef struct Pack {
    struct Pack *next;    /* in its bucket */
    const void *raw;      /* the constant */
    const Kernel *kernel; /* that it is packed for; NULL: an aligned copy */
    void *params;         /* what of the parameters decides the form, in whole structs */
    void *data;           /* the form */
} Pack;

struct Packs {
    pthread_mutex_t lock; /* guards what follows */
    Pack *buckets[BUCKETS];
    OnednnWeights *onednn; /* has a lock of its own */
};

Packs *packs_new(void)
{
    Packs *p = xcalloc(1, sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
#ifdef HAVE_ONEDNN
    p->onednn = onednn_weights_new();
#endif
    return p;
}

void packs_free(Packs *p)
{
    if (!p) return;
    for (int i = 0; i < BUCKETS; i++)
        for (Pack *k = p->buckets[i], *next; k; k = next) {
            next = k->next;
            free(k->params);
            free(k->data);
            free(k);
        }
#ifdef HAVE_ONEDNN
    onednn_weights_free(p->onednn);
#endif
    pthread_mutex_destroy(&p->lock);
    free(p);
}

OnednnWeights *packs_onednn(Packs *p) { return p->onednn; }

static void *memory_for(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    return p ? p : xmalloc(SIZE_MAX); /* says that memory is out */
}

/* The parameters with what does not decide the form left out. */
static uint32_t *key_of(const Kernel *k, const void *params)
{
    int count = k->nint + k->nfloat;
    uint32_t *key = xcalloc((size_t)count + 1, sizeof *key);
    memcpy(key, params, (size_t)count * sizeof *key);
    for (int i = 0; i < count; i++)
        if (k->pack_fields && (i >= 64 || !(k->pack_fields >> i & 1))) key[i] = 0;
    return key;
}

/* Where the form is in the list, or the end of the list. */
static Pack **find(Packs *p, const void *raw, const Kernel *k, const uint32_t *key)
{
    size_t bytes = k ? (size_t)(k->nint + k->nfloat) * sizeof *key : 0;
    Pack **at = &p->buckets[((uintptr_t)raw >> 6) % BUCKETS];
    while (*at && ((*at)->raw != raw || (*at)->kernel != k ||
                   (bytes && memcmp((*at)->params, key, bytes))))
        at = &(*at)->next;
    return at;
}

static Pack *insert(Pack **at, const Buf *b, const Kernel *k, void *key, size_t bytes)
{
    Pack *f = xcalloc(1, sizeof *f);
    *f = (Pack){.raw = b->data, .kernel = k, .params = key, .data = memory_for(bytes)};
    return *at = f;
}

const void *packs_packed(Packs *p, const Kernel *k, const void *params, const Buf *b)
{
    uint32_t *key = key_of(k, params);
    pthread_mutex_lock(&p->lock);
    Pack **at = find(p, b->data, k, key), *f = *at;
    if (!f) {
        void *copy = buf_is_aligned(b) ? NULL : memcpy(memory_for(b->bytes), b->data, b->bytes);
        pages_give_back(b->data, b->bytes); /* or both forms were in memory while it is packed */
        f = insert(at, b, k, key, k->pack_bytes(params));
        key = NULL;
        k->pack(params, copy ? copy : b->data, f->data);
        free(copy);
        pages_give_back(b->data, b->bytes);
    }
    pthread_mutex_unlock(&p->lock);
    free(key);
    return f->data;
}

const void *packs_aligned(Packs *p, const Buf *b)
{
    if (buf_is_aligned(b)) return b->data;
    pthread_mutex_lock(&p->lock);
    Pack **at = find(p, b->data, NULL, NULL), *f = *at;
    if (!f) {
        f = insert(at, b, NULL, NULL, b->bytes);
        memcpy(f->data, b->data, b->bytes);
    }
    pthread_mutex_unlock(&p->lock);
    return f->data;
}
