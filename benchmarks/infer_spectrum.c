/* One-parameter Metropolis updates of a sum of Gaussian peaks as one would write them by hand in C.

   The yardstick of infer_spectrum.py: the cheapest generator and proposal (xoshiro256++, uniform steps), one known
   noise level for all points, the published priors written out; arguments of exp are kept from underflow, where libmvec
   turns slow. Three ways to get the trial's chi square:
   INCREMENTAL evaluates the moved peak at all points, WINDOWED at those where it differs from zero (exp(-40), whole
   blocks of 32 points), ALL evaluates every peak at all points. */

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { INCREMENTAL, WINDOWED, ALL };
enum { MAX_POINTS = 1024, MAX_PEAKS = 16, BLOCK = 32 };

typedef struct {
    int points, peaks, way;
    double beta, weight;            /* inverse temperature; 1 / sigma^2 */
    double mean, precision;         /* of the normal prior of positions */
    double gamma_shape, gamma_rate; /* of the gamma prior of precisions */
    const double *x, *y;
} Problem;

typedef struct {
    double theta[MAX_PEAKS][3]; /* amplitude, position, precision */
    double peak[MAX_PEAKS][MAX_POINTS];
    double residual[MAX_POINTS];
    double chi_square;
    uint64_t stream[4];
} State;

static double trial_peak[MAX_POINTS], trial_residual[MAX_POINTS];

static inline uint64_t rotate(uint64_t word, int by) { return (word << by) | (word >> (64 - by)); }

static inline double uniform(uint64_t *s)
{
    const uint64_t result = rotate(s[0] + s[3], 23) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return (double)(result >> 11) * 0x1p-53;
}

static double all_peaks(const Problem *p, const double theta[][3], double *restrict residual)
{
    const double *restrict x = p->x;
    double sum = 0.0;
    memcpy(residual, p->y, p->points * sizeof(double));
    for (int k = 0; k < p->peaks; k++) {
        const double a = theta[k][0], mu = theta[k][1], half = 0.5 * theta[k][2];
        for (int i = 0; i < p->points; i++) {
            const double z = x[i] - mu;
            residual[i] -= a * exp(fmax(-half * z * z, -700.0));
        }
    }
    for (int i = 0; i < p->points; i++) sum += residual[i] * residual[i];
    return sum;
}

static double one_peak(const Problem *p, const State *s, int k, const double *trial, int low, int high)
{
    const double *restrict x = p->x, *restrict old = s->peak[k], *restrict now = s->residual;
    double *restrict peak = trial_peak, *restrict residual = trial_residual;
    const double a = trial[0], mu = trial[1], half = 0.5 * trial[2];
    double change = 0.0;
    for (int i = low; i < high; i++) {
        const double z = x[i] - mu;
        peak[i] = a * exp(fmax(-half * z * z, -700.0));
        const double d = old[i] - peak[i];
        residual[i] = now[i] + d;
        change += d * (2.0 * now[i] + d);
    }
    return s->chi_square + change;
}

/* Whole blocks that hold the peak before and after; x is equally spaced here, which spares a search. */
static void window(const Problem *p, const double *old, const double *trial, int *low, int *high)
{
    const double reach_old = sqrt(80.0 / old[2]), reach_new = sqrt(80.0 / trial[2]);
    const double start = fmin(old[1] - reach_old, trial[1] - reach_new);
    const double stop = fmax(old[1] + reach_old, trial[1] + reach_new);
    const double a_block = (p->x[1] - p->x[0]) * BLOCK, blocks = (double)(p->points / BLOCK + 1);
    *low = (int)fmin(fmax((start - p->x[0]) / a_block, 0.0), blocks) * BLOCK;
    *high = (int)fmin(fmax((stop - p->x[0]) / a_block + 1.0, 0.0), blocks) * BLOCK;
    if (*high > p->points) *high = p->points;
    if (*low > *high) *low = *high;
}

static int update(const Problem *p, State *s, int k, int which, double step)
{
    double theta[MAX_PEAKS][3], change, chi_square;
    int low = 0, high = p->points;
    const double *old = s->theta[k];
    memcpy(theta, s->theta, sizeof(theta));
    const double d = step * (2.0 * uniform(s->stream) - 1.0);
    if (which == 1) {
        theta[k][1] += d;
        change = -0.5 * p->precision * d * (theta[k][1] + old[1] - 2.0 * p->mean);
    } else {
        theta[k][2] *= exp(d);
        change = p->gamma_shape * d - p->gamma_rate * (theta[k][2] - old[2]);
    }
    if (p->way == WINDOWED) window(p, old, theta[k], &low, &high);
    chi_square = p->way == ALL ? all_peaks(p, theta, trial_residual) : one_peak(p, s, k, theta[k], low, high);
    change -= 0.5 * p->beta * p->weight * (chi_square - s->chi_square);
    if (!(log(uniform(s->stream)) < change)) return 0;
    memcpy(s->theta[k], theta[k], sizeof(theta[k]));
    if (p->way != ALL) {
        memcpy(s->peak[k] + low, trial_peak + low, (high - low) * sizeof(double));
        memcpy(s->residual + low, trial_residual + low, (high - low) * sizeof(double));
    }
    s->chi_square = chi_square;
    return 1;
}

/* Size of a state in bytes, for the caller to hold one. */
int64_t state_size(void) { return sizeof(State); }

/* Put the peaks at theta (peaks, 3) and compute what is cached. */
void begin(const Problem *p, State *s, const double *theta, uint64_t seed)
{
    memset(s, 0, sizeof(State));
    memcpy(s->theta, theta, 3 * p->peaks * sizeof(double));
    for (int i = 0; i < 4; i++) s->stream[i] = seed + 0x9e3779b97f4a7c15ULL * (i + 1);
    for (int k = 0; k < p->peaks; k++)
        for (int i = 0; i < p->points; i++) {
            const double z = p->x[i] - theta[3 * k + 1];
            s->peak[k][i] = theta[3 * k] * exp(fmax(-0.5 * theta[3 * k + 2] * z * z, -700.0));
        }
    s->chi_square = all_peaks(p, (const double(*)[3])s->theta, s->residual);
}

/* Update parameter `which` (1 position, 2 precision) of the peaks in turn, `updates` times, with each peak's own
   step; return how many were accepted, by peak in `accepted`. */
int64_t run(const Problem *p, State *s, int which, const double *step, int64_t updates, int64_t *accepted)
{
    int64_t total = 0;
    for (int64_t i = 0; i < updates; i++) {
        const int k = (int)(i % p->peaks), yes = update(p, s, k, which, step[k]);
        accepted[k] += yes;
        total += yes;
    }
    return total;
}
