/* frontend/data/resize_tf.c - TensorFlow's resize without antialiasing, all in float32. Bilinear
 * results are not rounded, whatever the picture's type: pipelines go on with the fractions.
 */
#include "frontend/data/resize_plan.h"

#include <math.h>

/* Where output i lies in the source. */
typedef float Place(const Axis *a, size_t i);

static float scale_of(const Axis *a) { return (float)a->from / (float)a->to; }

static float place_centre(const Axis *a, size_t i)
{
    return ((float)i + 0.5f) * scale_of(a) - 0.5f;
}

static float place_corner(const Axis *a, size_t i) { return (float)i * scale_of(a); }

/* ---- the steps: from the first value on to the second -----------------------------------------
 */

static void across(const Plan *p, const uint8_t *in, void *out)
{
    const Axis *x = &p->x;
    size_t channels = (size_t)p->channels;
    float *to = out;
    for (size_t i = 0; i < x->n; i++) {
        const uint8_t *left = in + axis_inside(x, x->first[i]) * channels;
        const uint8_t *right = in + axis_inside(x, x->first[i] + 1) * channels;
        float share = x->real[i * x->most];
        for (size_t c = 0; c < channels; c++)
            *to++ = (float)left[c] + ((float)right[c] - (float)left[c]) * share;
    }
}

static void down(const Plan *p, size_t i, const void *const *rows, void *out)
{
    const float *top = rows[0], *bottom = rows[1];
    float *to = out, share = p->y.real[i * p->y.most];
    size_t n = p->x.n * (size_t)p->channels;
    for (size_t k = 0; k < n; k++) to[k] = top[k] + (bottom[k] - top[k]) * share;
}

/* ---- plans ----------------------------------------------------------------------------------- */

static bool plan_bilinear(Plan *p, Place *place)
{
    Axis *axes[] = {&p->x, &p->y};
    p->across = across;
    p->down = down;
    p->between = sizeof(float);
    for (int k = 0; k < 2; k++) {
        Axis *a = axes[k];
        if (!plan_axis(p, a, 2, true)) return false;
        for (size_t i = 0; i < a->n; i++) {
            float at = place(a, a->start + i), whole = floorf(at);
            a->first[i] = (ptrdiff_t)whole;
            a->real[i * a->most] = at - whole;
        }
    }
    return true;
}

bool plan_tf_bilinear(Plan *p) { return plan_bilinear(p, place_centre); }

bool plan_tf1_bilinear(Plan *p) { return plan_bilinear(p, place_corner); }

static void fill_nearest(Axis *a)
{
    for (size_t i = 0; i < a->n; i++)
        a->first[i] = (ptrdiff_t)floorf(((float)(a->start + i) + 0.5f) * scale_of(a));
}

bool plan_tf_nearest(Plan *p) { return plan_nearest(p, fill_nearest); }
