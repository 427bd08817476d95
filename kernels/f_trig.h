/* kernels/f_trig.h - trigonometric and hyperbolic functions of floats: those of doubles, rounded.
 */
#ifndef KERNELS_F_TRIG_H
#define KERNELS_F_TRIG_H

#include "d_trig.h"
#include "f_math.h"

KERNEL float f_sin(float x) { return (float)d_sin((double)x); }
KERNEL float f_cos(float x) { return (float)d_cos((double)x); }
KERNEL float f_tan(float x) { return (float)d_tan((double)x); }
KERNEL float f_asin(float x) { return (float)d_asin((double)x); }
KERNEL float f_acos(float x) { return (float)d_acos((double)x); }
KERNEL float f_atan(float x) { return (float)d_atan((double)x); }
KERNEL float f_sinh(float x) { return (float)d_sinh((double)x); }
KERNEL float f_cosh(float x) { return (float)d_cosh((double)x); }
KERNEL float f_asinh(float x) { return (float)d_asinh((double)x); }
KERNEL float f_acosh(float x) { return (float)d_acosh((double)x); }
KERNEL float f_atanh(float x) { return (float)d_atanh((double)x); }

#endif
