/* runtime/onednn_product.c - see onednn_product.h. */
#include "runtime/onednn_product.h"

/* A matrix as sgemm takes it: row by row, or turned, column by column. */
typedef struct Side {
    char turned;     /* 'T', else 'N' */
    dnnl_dim_t lead; /* elements from one of its rows in memory to the next */
} Side;

/* A matrix of rows `down` apart and columns `across` apart. False: it lies in neither way. */
static bool side_of(int32_t rows, int32_t columns, int32_t down, int32_t across, Side *s)
{
    if (rows == 1) down = columns; /* which it does not step over */
    if (columns == 1) across = 1;
    if (across == 1 && down >= columns) {
        *s = (Side){'N', down};
        return true;
    }
    if (rows == 1 && across >= 1) down = 1;
    *s = (Side){'T', across};
    return down == 1 && across >= rows;
}

static bool sides_of(const matmul_p *p, Side *a, Side *b)
{
    return side_of(p->m, p->k, p->am, p->ak, a) && side_of(p->k, p->n, p->bk, p->bn, b);
}

/* Its calls take about a third of a microsecond, whatever the size. */
enum { LEAST = 1 << 12 };

bool onednn_product_takes(const matmul_p *p)
{
    Side a, b;
    const int64_t products = (int64_t)p->m * p->n * p->k;
    return products > LEAST && p->k <= MOST_PRODUCTS && sides_of(p, &a, &b);
}

dnnl_status_t onednn_product_run(const matmul_p *p, const float *a, const float *b, float *y)
{
    Side sa, sb;
    if (!sides_of(p, &sa, &sb)) return dnnl_invalid_arguments;
    dnnl_status_t status = dnnl_success;
    const ptrdiff_t count = matmul_count(p), size = (ptrdiff_t)p->m * p->n;
    for (ptrdiff_t t = 0; t < count && !status; t++, y += size) {
        ptrdiff_t at, bt;
        matmul_at(p, t, &at, &bt);
        status = dnnl_sgemm(sa.turned, sb.turned, p->m, p->n, p->k, p->alpha, a + at, sa.lead,
                            b + bt, sb.lead, 0.0f, y, p->n);
    }
    return status;
}
