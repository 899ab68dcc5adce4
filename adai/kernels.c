/*
 * One step of each update rule over many segments, each with its own hyperparameters, in as few passes over memory as
 * the rule allows. A segment is one row of a trial batch, or one parameter tensor of an optimizer.
 *
 * Compiled twice on first use (adai/compiled.py): with REAL float and double. Numbers do not depend on the number of
 * threads, on the width of the processor's vectors, or on what other segments there are: multiplications and additions
 * are never contracted, and sums are taken in a fixed order (lanes of SUM_LANES, blocks of CHUNK).
 *
 * Arrays of a job: theta, grad, then the state in the order that each function names. Each function advances step.
 */
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 8192 /* elements of a segment that one thread handles at a time; also the unit of retired flags */
#define SUM_LANES 16
#define MAX_THREADS 64
#define SCALARS 24
#define INLINE static inline __attribute__((always_inline))

typedef struct {
    int64_t count;               /* segments */
    int64_t row_size;            /* elements of each segment if they are rows of (T, P) arrays, else 0 */
    const int64_t *size;         /* else: elements of each */
    REAL *const *arrays;         /* rows: one address for each array; else arrays[array * count + segment] */
    const double *const *hyper;  /* hyper[h][segment], in the order of the rule's hyperparameters */
    int64_t *step;               /* steps taken by each segment, or NULL; a segment without gradient takes none */
    const double *sign;          /* -1 where the objective is maximized, or NULL */
    uint8_t *retired;            /* Adai: chunks whose product of inertias no longer matters, in order */
    double *v_bar_running;       /* Adai over tensors: {running mean, whether it is known}, or NULL: the exact mean */
    int64_t slots;               /* AdaShift: gradients in the window */
    int64_t slot_size;           /* from one slot to the next; 0: the segment's size */
    double *memory;              /* one number that a segment keeps from step to step, or NULL */
    int64_t option;              /* a variant of the rule */
    int64_t threads;
} Job;

typedef struct Work Work;
typedef void (*Pass)(const Work *work, int64_t segment, int64_t start, int64_t length, int64_t chunk);
struct Work {
    const Job *job;
    Pass pass;
    REAL (*scalars)[SCALARS];
    double *partial; /* one sum for each chunk */
    int64_t chunks;
    int64_t thread;
    int by_segment; /* a thread takes whole segments, not chunks */
};

INLINE int64_t size_of(const Job *job, int64_t segment) { return job->row_size ? job->row_size : job->size[segment]; }

INLINE REAL *at(const Job *job, int array, int64_t segment) {
    if (job->row_size) return job->arrays[array] + segment * job->row_size;
    return job->arrays[array * job->count + segment];
}

INLINE int has_gradient(const Job *job, int64_t segment) { return at(job, 1, segment) != NULL; }
INLINE int64_t chunks_of(int64_t size) { return (size + CHUNK - 1) / CHUNK; }
INLINE double sign_of(const Job *job, int64_t segment) { return job->sign ? job->sign[segment] : 1.0; }

static int64_t count_chunks(const Job *job) {
    int64_t chunks = 0;
    for (int64_t i = 0; i < job->count; i++) chunks += chunks_of(size_of(job, i));
    return chunks;
}

/* Run the pass on this thread's share. Shares are whole chunks, so results do not depend on how many there are. */
static void *run_share(void *argument) {
    const Work *work = argument;
    const Job *job = work->job;
    const int64_t units = work->by_segment ? job->count : work->chunks;
    const int64_t first = work->thread * units / job->threads, last = (work->thread + 1) * units / job->threads;
    int64_t before = 0; /* chunks in front of the segment */
    for (int64_t i = 0; i < job->count; i++) {
        const int64_t size = size_of(job, i), own = chunks_of(size);
        if (!has_gradient(job, i)) {
            /* not stepped */
        } else if (work->by_segment) {
            if (i >= first && i < last) work->pass(work, i, 0, size, before);
        } else {
            const int64_t from = before < first ? first - before : 0, to = last - before < own ? last - before : own;
            for (int64_t c = from; c < to; c++) {
                const int64_t start = c * CHUNK;
                work->pass(work, i, start, size - start < CHUNK ? size - start : CHUNK, before + c);
            }
        }
        before += own;
    }
    return NULL;
}

/* Run one pass over all segments. Threads live as long as the pass: a pool would not survive a fork. */
static void run_pass(Work *work, Pass pass) {
    const int64_t threads = work->job->threads < MAX_THREADS ? work->job->threads : MAX_THREADS;
    Job job = *work->job;
    job.threads = threads;
    Work shares[MAX_THREADS];
    pthread_t ids[MAX_THREADS];
    int started[MAX_THREADS] = {0};
    for (int64_t k = 0; k < threads; k++) {
        shares[k] = *work;
        shares[k].job = &job;
        shares[k].pass = pass;
        shares[k].thread = k;
        if (k > 0) started[k] = pthread_create(&ids[k], NULL, run_share, &shares[k]) == 0;
    }
    run_share(&shares[0]);
    for (int64_t k = 1; k < threads; k++) {
        if (started[k]) pthread_join(ids[k], NULL);
        else run_share(&shares[k]);
    }
}

/* 0 if memory for the segments' scalars cannot be had. */
static int open_work(Work *work, const Job *job) {
    work->job = job;
    work->by_segment = 0;
    work->chunks = count_chunks(job);
    work->partial = NULL;
    work->scalars = malloc((size_t)(job->count ? job->count : 1) * sizeof *work->scalars);
    return work->scalars != NULL;
}

INLINE double advance(const Job *job, int64_t segment) { return (double)++job->step[segment]; }

/* ---- SGD: arrays theta, grad, buffer; hyper lr, momentum, weight_decay; option 1: Nesterov ---- */

INLINE void sgd_loop(int nesterov, REAL *restrict theta, const REAL *restrict grad, REAL *restrict buffer, int64_t n,
                     const REAL *s) {
    const REAL lr = s[0], momentum = s[1], decay = s[2], sign = s[3];
    for (int64_t k = 0; k < n; k++) {
        const REAL g = sign * grad[k] + decay * theta[k];
        const REAL b = momentum * buffer[k] + g;
        buffer[k] = b;
        theta[k] -= lr * (nesterov ? g + momentum * b : b);
    }
}

static void sgd_pass(const Work *w, int64_t i, int64_t start, int64_t n, int64_t chunk) {
    (void)chunk;
    REAL *theta = at(w->job, 0, i) + start, *grad = at(w->job, 1, i) + start, *buffer = at(w->job, 2, i) + start;
    if (w->job->option) sgd_loop(1, theta, grad, buffer, n, w->scalars[i]);
    else sgd_loop(0, theta, grad, buffer, n, w->scalars[i]);
}

int sgd(const Job *job) {
    Work work;
    if (!open_work(&work, job)) return 1;
    for (int64_t i = 0; i < job->count; i++) {
        REAL *s = work.scalars[i];
        for (int h = 0; h < 3; h++) s[h] = (REAL)job->hyper[h][i];
        s[3] = (REAL)sign_of(job, i);
    }
    run_pass(&work, sgd_pass);
    free(work.scalars);
    return 0;
}

/* ---- Adam and its relatives: arrays theta, grad, m, v, and v_max where the variant keeps it ---- */

enum { ADAM, AMSGRAD, RADAM, RADAM_PLAIN, ADABOUND, AMSBOUND, PADAM, PADAM_AMSGRAD, YOGI, NADAM };
/* scalars: shrink theta, couple theta into g, sign, beta1, 1-beta1, beta2, 1-beta2, sqrt of the second bias correction,
   eps, step size of m, and two that each kind uses for itself */
enum { SHRINK, COUPLE, SIGN, BETA1, REST1, BETA2, REST2, ROOT2, EPS, STEP, EXTRA1, EXTRA2 };

#ifdef DOUBLE
#define SQRT sqrt
#define POW pow
#define FABS fabs
#else
#define SQRT sqrtf
#define POW powf
#define FABS fabsf
#endif

/* Padam's denominator to the power 2 partial: by square roots where that is exact enough and fast, else by pow. */
INLINE REAL partial_power(REAL x, REAL partial) {
    const REAL eighths = 8 * partial;
    if (eighths == 4) return x;
    if (eighths == 2) return SQRT(x);
    if (eighths == 1) return SQRT(SQRT(x));
    return POW(x, 2 * partial);
}

INLINE void adam_loop(int kind, REAL *restrict theta, const REAL *restrict grad, REAL *restrict m, REAL *restrict v,
                      REAL *restrict v_max, int64_t n, const REAL *s, REAL partial) {
    const REAL shrink = s[SHRINK], couple = s[COUPLE], sign = s[SIGN], beta1 = s[BETA1], rest1 = s[REST1],
               beta2 = s[BETA2], rest2 = s[REST2], root2 = s[ROOT2], eps = s[EPS], step = s[STEP], extra1 = s[EXTRA1],
               extra2 = s[EXTRA2];
    for (int64_t k = 0; k < n; k++) {
        const REAL t = theta[k] * shrink;
        const REAL g = sign * grad[k] + couple * t;
        const REAL square = g * g;
        const REAL m_new = beta1 * m[k] + rest1 * g;
        REAL v_new;
        if (kind == YOGI) {
            const REAL gap = v[k] - square;
            v_new = v[k] - (gap > 0 ? rest2 * square : gap < 0 ? -(rest2 * square) : gap);
        } else {
            v_new = beta2 * v[k] + rest2 * square;
        }
        m[k] = m_new;
        v[k] = v_new;
        REAL v_used = v_new;
        if (kind == AMSGRAD || kind == AMSBOUND || kind == PADAM_AMSGRAD) {
            /* NaN wins, as in torch.maximum. */
            v_used = v_max[k] >= v_new ? v_max[k] : v_new;
            v_used = v_max[k] != v_max[k] ? v_max[k] : v_used;
            v_max[k] = v_used;
        }
        if (kind == RADAM_PLAIN) {
            theta[k] = t - step * m_new;
            continue;
        }
        const REAL root = SQRT(v_used);
        if (kind == ADABOUND || kind == AMSBOUND) {
            REAL rate = step / (root + eps);
            rate = rate < extra1 ? extra1 : rate;
            rate = rate > extra2 ? extra2 : rate;
            theta[k] = t - rate * m_new;
        } else if (kind == PADAM || kind == PADAM_AMSGRAD) {
            theta[k] = t - step * m_new / partial_power(root / root2 + eps, partial);
        } else if (kind == RADAM) {
            theta[k] = t - step * m_new / (root + eps);
        } else if (kind == NADAM) {
            theta[k] = t - (step * m_new + extra1 * g) / (root / root2 + eps);
        } else {
            theta[k] = t - step * m_new / (root / root2 + eps);
        }
    }
}

#define ADAM_PASS(name, kind)                                                                                          \
    static void name##_pass(const Work *w, int64_t i, int64_t start, int64_t n, int64_t chunk) {                       \
        (void)chunk;                                                                                                   \
        const Job *job = w->job;                                                                                       \
        const int with_max = kind == AMSGRAD || kind == AMSBOUND || kind == PADAM_AMSGRAD;                             \
        adam_loop(kind, at(job, 0, i) + start, at(job, 1, i) + start, at(job, 2, i) + start, at(job, 3, i) + start,    \
                  with_max ? at(job, 4, i) + start : NULL, n, w->scalars[i], w->scalars[i][EXTRA1]);                   \
    }
ADAM_PASS(adam, ADAM)
ADAM_PASS(amsgrad, AMSGRAD)
ADAM_PASS(radam_rectified, RADAM)
ADAM_PASS(radam_plain, RADAM_PLAIN)
ADAM_PASS(adabound, ADABOUND)
ADAM_PASS(amsbound, AMSBOUND)
ADAM_PASS(yogi, YOGI)
ADAM_PASS(nadam, NADAM)

/* One loop for each common power, so that the compiler sees a constant. */
#define PADAM_LOOPS(kind)                                                                                              \
    REAL *a[5];                                                                                                        \
    for (int x = 0; x < 4 + (kind == PADAM_AMSGRAD); x++) a[x] = at(w->job, x, i) + start;                             \
    if (kind == PADAM) a[4] = NULL;                                                                                    \
    const REAL *s = w->scalars[i], partial = s[EXTRA1];                                                                \
    (void)chunk;                                                                                                       \
    if (partial == (REAL)0.5) adam_loop(kind, a[0], a[1], a[2], a[3], a[4], n, s, (REAL)0.5);                          \
    else if (partial == (REAL)0.25) adam_loop(kind, a[0], a[1], a[2], a[3], a[4], n, s, (REAL)0.25);                   \
    else if (partial == (REAL)0.125) adam_loop(kind, a[0], a[1], a[2], a[3], a[4], n, s, (REAL)0.125);                 \
    else adam_loop(kind, a[0], a[1], a[2], a[3], a[4], n, s, partial);

static void padam_pass(const Work *w, int64_t i, int64_t start, int64_t n, int64_t chunk) { PADAM_LOOPS(PADAM) }
static void padam_amsgrad_pass(const Work *w, int64_t i, int64_t start, int64_t n, int64_t chunk) {
    PADAM_LOOPS(PADAM_AMSGRAD)
}

/* hyper of all: lr, beta1, beta2, eps, weight_decay. Fills what they share; returns the step count. */
static double adam_scalars(const Job *job, int64_t i, REAL *s, int decoupled, double *bias1, double *bias2) {
    const double lr = job->hyper[0][i], beta1 = job->hyper[1][i], beta2 = job->hyper[2][i], decay = job->hyper[4][i];
    const double t = advance(job, i);
    *bias1 = 1 - pow(beta1, t);
    *bias2 = 1 - pow(beta2, t);
    s[SHRINK] = (REAL)(decoupled ? 1 - lr * decay : 1);
    s[COUPLE] = (REAL)(decoupled ? 0 : decay);
    s[SIGN] = (REAL)sign_of(job, i);
    s[BETA1] = (REAL)beta1;
    s[REST1] = (REAL)(1 - beta1);
    s[BETA2] = (REAL)beta2;
    s[REST2] = (REAL)(1 - beta2);
    s[ROOT2] = (REAL)sqrt(*bias2);
    s[EPS] = (REAL)job->hyper[3][i];
    s[STEP] = (REAL)(lr / *bias1);
    s[EXTRA1] = s[EXTRA2] = 0;
    return t;
}

/* option: 1 decoupled, 2 AMSGrad */
int adam(const Job *job) {
    Work work;
    double bias1, bias2;
    if (!open_work(&work, job)) return 1;
    for (int64_t i = 0; i < job->count; i++)
        if (has_gradient(job, i)) adam_scalars(job, i, work.scalars[i], job->option & 1, &bias1, &bias2);
    run_pass(&work, job->option & 2 ? amsgrad_pass : adam_pass);
    free(work.scalars);
    return 0;
}

/* Adai: arrays theta, grad, m, v, mu_prod; hyper lr, beta0, beta2, eps, weight_decay, and AdaiV2's dampening;
   option 1: decoupled */

enum { A_LR, A_BETA0, A_BOUND, A_SHRINK, A_COUPLE, A_SIGN, A_BETA2, A_REST2, A_V_BAR, A_BIAS2, A_DAMPENING, A_RETIRE };

/* Below it, 1 - mu_prod rounds to 1 whatever follows, because mu_prod never grows. */
#ifdef DOUBLE
#define NEGLIGIBLE 0x1p-54
#else
#define NEGLIGIBLE 0x1p-25f
#endif

/* In lanes of REAL over a few elements, then in double: converting every element would cost more than reading it. */
#define FEW 8

INLINE double sum_lanes(const REAL *x, int64_t n) {
    double total[SUM_LANES] = {0};
    int64_t k = 0;
    for (; k + FEW * SUM_LANES <= n; k += FEW * SUM_LANES) {
        REAL lane[SUM_LANES];
        for (int l = 0; l < SUM_LANES; l++) lane[l] = x[k + l];
        for (int j = 1; j < FEW; j++)
            for (int l = 0; l < SUM_LANES; l++) lane[l] += x[k + j * SUM_LANES + l];
        for (int l = 0; l < SUM_LANES; l++) total[l] += (double)lane[l];
    }
    for (int l = 0; k < n; k++, l = (l + 1) % SUM_LANES) total[l] += (double)x[k];
    for (int width = SUM_LANES / 2; width > 0; width /= 2)
        for (int l = 0; l < width; l++) total[l] += total[l + width];
    return total[0];
}

#define BLOCK 1024 /* stays in the first-level cache between the two loops */

/* v <- beta2 v + (1 - beta2) g^2; returns the sum of the new v */
INLINE double second_moment(const REAL *restrict theta, const REAL *restrict grad, REAL *restrict v, int64_t n,
                            const REAL *s) {
    const REAL beta2 = s[A_BETA2], rest2 = s[A_REST2], sign = s[A_SIGN], couple = s[A_COUPLE];
    double sum = 0;
    for (int64_t start = 0; start < n; start += BLOCK) {
        const int64_t end = start + BLOCK < n ? start + BLOCK : n;
        if (couple != 0) {
            for (int64_t k = start; k < end; k++) {
                const REAL g = sign * grad[k] + couple * theta[k];
                v[k] = beta2 * v[k] + rest2 * (g * g);
            }
        } else {
            for (int64_t k = start; k < end; k++) v[k] = beta2 * v[k] + rest2 * (grad[k] * grad[k]);
        }
        sum += sum_lanes(v + start, end - start);
    }
    return sum;
}

INLINE double sum_of_squares(const REAL *restrict theta, const REAL *restrict grad, int64_t n, const REAL *s) {
    const REAL couple = s[A_COUPLE], sign = s[A_SIGN];
    REAL square[BLOCK];
    double sum = 0;
    for (int64_t start = 0; start < n; start += BLOCK) {
        const int64_t length = start + BLOCK < n ? BLOCK : n - start;
        for (int64_t k = 0; k < length; k++) {
            const REAL g = couple != 0 ? sign * grad[start + k] + couple * theta[start + k] : grad[start + k];
            square[k] = g * g;
        }
        sum += sum_lanes(square, length);
    }
    return sum;
}

/* What v is divided by: v_bar times the segment's bias correction; 1 where all gradients were zero, and so is v. */
INLINE void set_v_bar(REAL *s, double v_bar) {
    const REAL divisor = (REAL)(v_bar * (double)s[A_BIAS2]);
    s[A_V_BAR] = divisor == 0 ? 1 : divisor;
}

/* mu, momentum, bias correction, movement. fuse_v: v has not been updated yet. retired: mu_prod is not read. Returns
   whether some product of inertias still matters. */
INLINE int inertia_loop(int fuse_v, int retired, int damped, REAL *restrict theta, const REAL *restrict grad,
                        REAL *restrict m, REAL *restrict v, REAL *restrict mu_prod, int64_t n, const REAL *s) {
    const REAL lr = s[A_LR], beta0 = s[A_BETA0], bound = s[A_BOUND], shrink = s[A_SHRINK], couple = s[A_COUPLE],
               sign = s[A_SIGN], beta2 = s[A_BETA2], rest2 = s[A_REST2], v_bar = s[A_V_BAR],
               dampening = s[A_DAMPENING];
    const REAL exponent = 1 / (3 - 2 * dampening);
    int live = 0;
    for (int64_t k = 0; k < n; k++) {
        const REAL t = theta[k];
        const REAL g = sign * grad[k] + couple * t;
        REAL second = v[k];
        if (fuse_v) {
            second = beta2 * second + rest2 * (g * g);
            v[k] = second;
        }
        REAL relative = second / v_bar;
        if (damped) relative = POW(relative, exponent);
        /* Comparisons are such that NaN stays NaN. */
        REAL mu = 1 - relative * beta0;
        mu = mu < 0 ? 0 : mu;
        mu = mu > bound ? bound : mu;
        const REAL weight = damped ? POW(1 - mu, dampening) : 1 - mu;
        const REAL m_new = mu * m[k] + weight * g;
        m[k] = m_new;
        REAL move = m_new;
        if (!retired) {
            const REAL product = mu_prod[k] * mu;
            mu_prod[k] = product;
            REAL correction = 1 - product;
            correction = correction == 0 ? 1 : correction;
            move = m_new / correction;
            live |= !(FABS(product) <= NEGLIGIBLE);
        }
        theta[k] = t * shrink - lr * move;
    }
    return live;
}

INLINE void inertia_chunk(int fuse_v, const Work *w, int64_t i, int64_t start, int64_t n, int64_t chunk) {
    const Job *job = w->job;
    const REAL *s = w->scalars[i];
    REAL *a[5];
    for (int x = 0; x < 5; x++) a[x] = at(job, x, i) + start;
    uint8_t *retired = &job->retired[chunk];
    if (s[A_DAMPENING] != 1) inertia_loop(fuse_v, 0, 1, a[0], a[1], a[2], a[3], a[4], n, s);
    else if (*retired) inertia_loop(fuse_v, 1, 0, a[0], a[1], a[2], a[3], a[4], n, s);
    else if (!inertia_loop(fuse_v, 0, 0, a[0], a[1], a[2], a[3], a[4], n, s)) *retired = s[A_RETIRE] != 0;
}

static void inertia_pass(const Work *w, int64_t i, int64_t start, int64_t n, int64_t chunk) {
    inertia_chunk(0, w, i, start, n, chunk);
}

static void inertia_fused_pass(const Work *w, int64_t i, int64_t start, int64_t n, int64_t chunk) {
    inertia_chunk(1, w, i, start, n, chunk);
}

static void second_moment_pass(const Work *w, int64_t i, int64_t start, int64_t n, int64_t chunk) {
    w->partial[chunk] = second_moment(at(w->job, 0, i) + start, at(w->job, 1, i) + start, at(w->job, 3, i) + start, n,
                                      w->scalars[i]);
}

static void square_pass(const Work *w, int64_t i, int64_t start, int64_t n, int64_t chunk) {
    w->partial[chunk] = sum_of_squares(at(w->job, 0, i) + start, at(w->job, 1, i) + start, n, w->scalars[i]);
}

/* A whole row by one thread: its v is still in the cache when the second loop reads it. */
static void inertia_row_pass(const Work *w, int64_t i, int64_t start, int64_t n, int64_t chunk) {
    (void)start;
    double sum = 0;
    for (int64_t c = 0; c * CHUNK < n; c++) {
        const int64_t from = c * CHUNK, length = n - from < CHUNK ? n - from : CHUNK;
        sum += second_moment(at(w->job, 0, i) + from, at(w->job, 1, i) + from, at(w->job, 3, i) + from, length,
                             w->scalars[i]);
    }
    set_v_bar(w->scalars[i], sum / (double)n);
    for (int64_t c = 0; c * CHUNK < n; c++) {
        const int64_t from = c * CHUNK;
        inertia_chunk(0, w, i, from, n - from < CHUNK ? n - from : CHUNK, chunk + c);
    }
}

static void inertia_scalars(const Job *job, int64_t i, REAL *s) {
    const double lr = job->hyper[0][i], beta2 = job->hyper[2][i], eps = job->hyper[3][i], decay = job->hyper[4][i];
    const int decoupled = (int)(job->option & 1) || (job->hyper[6] && job->hyper[6][i] != 0);
    const double dampening = job->hyper[5] ? job->hyper[5][i] : 1;
    s[A_LR] = (REAL)(lr * pow(job->hyper[1][i], 1 - dampening));
    s[A_BETA0] = (REAL)job->hyper[1][i];
    s[A_BOUND] = (REAL)(1 - eps);
    s[A_SHRINK] = (REAL)(decoupled ? 1 - lr * decay : 1);
    s[A_COUPLE] = (REAL)(decoupled ? 0 : decay);
    s[A_SIGN] = (REAL)sign_of(job, i);
    s[A_BETA2] = (REAL)beta2;
    s[A_REST2] = (REAL)(1 - beta2);
    s[A_BIAS2] = 1;
    s[A_DAMPENING] = (REAL)dampening;
    s[A_RETIRE] = (REAL)(eps <= 1); /* with more, |mu| may exceed 1 and the product grow again */
}

int inertia_rows(const Job *job) {
    Work work;
    if (!open_work(&work, job)) return 1;
    work.by_segment = 1;
    for (int64_t i = 0; i < job->count; i++) inertia_scalars(job, i, work.scalars[i]);
    run_pass(&work, inertia_row_pass);
    free(work.scalars);
    return 0;
}

/* All segments share one v_bar, as the tensors of one model do. */
int inertia_tensors(const Job *job) {
    Work work;
    if (!open_work(&work, job)) return 1;
    work.partial = malloc((size_t)(work.chunks ? work.chunks : 1) * sizeof(double));
    if (!work.partial) {
        free(work.scalars);
        return 1;
    }
    int alike = 1;
    /* The running mean stands for one beta2 and one step count; where there are several, the exact mean is taken. */
    int running = job->v_bar_running != NULL && job->v_bar_running[1] != 0;
    for (int64_t i = 0; i < job->count; i++) {
        if (has_gradient(job, i)) {
            REAL *s = work.scalars[i];
            inertia_scalars(job, i, s);
            s[A_BIAS2] = (REAL)(1 - pow(job->hyper[2][i], advance(job, i)));
        }
        if (!has_gradient(job, i) || job->step[i] != job->step[0] || job->hyper[2][i] != job->hyper[2][0]) alike = 0;
    }
    running = running && alike;
    run_pass(&work, running ? square_pass : second_moment_pass);
    double weighted = 0, elements = 0, bias2 = 1, beta2 = 0;
    int64_t chunk = 0;
    for (int64_t i = 0; i < job->count; i++) {
        const int64_t size = size_of(job, i), own = chunks_of(size);
        if (has_gradient(job, i)) {
            double sum = 0;
            for (int64_t c = 0; c < own; c++) sum += work.partial[chunk + c];
            beta2 = job->hyper[2][i];
            bias2 = 1 - pow(beta2, (double)job->step[i]);
            weighted += running ? sum : sum / bias2;
            elements += (double)size;
        }
        chunk += own;
    }
    double v_bar = elements > 0 ? weighted / elements : 0;
    if (running) {
        job->v_bar_running[0] = beta2 * job->v_bar_running[0] + (1 - beta2) * v_bar;
        v_bar = job->v_bar_running[0] / bias2;
    } else if (job->v_bar_running) {
        job->v_bar_running[0] = v_bar * bias2;
        job->v_bar_running[1] = alike;
    }
    for (int64_t i = 0; i < job->count; i++)
        if (has_gradient(job, i)) set_v_bar(work.scalars[i], v_bar);
    run_pass(&work, running ? inertia_fused_pass : inertia_pass);
    free(work.partial);
    free(work.scalars);
    return 0;
}

/* ---- The other relatives of Adam; hyper as for adam, then their own ---- */

/* final_lr, gamma; option 1: AMSBound */
int adabound(const Job *job) {
    Work work;
    double bias1, bias2;
    if (!open_work(&work, job)) return 1;
    for (int64_t i = 0; i < job->count; i++) {
        if (!has_gradient(job, i)) continue;
        REAL *s = work.scalars[i];
        const double t = adam_scalars(job, i, s, 0, &bias1, &bias2), final_lr = job->hyper[5][i],
                     gamma = job->hyper[6][i];
        s[STEP] = (REAL)(job->hyper[0][i] * sqrt(bias2) / bias1);
        s[EXTRA1] = (REAL)(final_lr * (1 - 1 / (gamma * t + 1)));
        s[EXTRA2] = (REAL)(final_lr * (1 + 1 / (gamma * t)));
    }
    run_pass(&work, job->option & 1 ? amsbound_pass : adabound_pass);
    free(work.scalars);
    return 0;
}

/* partial; option 1: AMSGrad. The authors add eps to the plain root and scale the step. */
int padam(const Job *job) {
    Work work;
    double bias1, bias2;
    if (!open_work(&work, job)) return 1;
    for (int64_t i = 0; i < job->count; i++) {
        if (!has_gradient(job, i)) continue;
        REAL *s = work.scalars[i];
        adam_scalars(job, i, s, 0, &bias1, &bias2);
        s[STEP] = (REAL)(job->hyper[0][i] * sqrt(bias2) / bias1);
        s[ROOT2] = 1;
        s[EXTRA1] = (REAL)job->hyper[5][i];
    }
    run_pass(&work, job->option & 1 ? padam_amsgrad_pass : padam_pass);
    free(work.scalars);
    return 0;
}

int yogi(const Job *job) {
    Work work;
    double bias1, bias2;
    if (!open_work(&work, job)) return 1;
    for (int64_t i = 0; i < job->count; i++)
        if (has_gradient(job, i)) adam_scalars(job, i, work.scalars[i], 0, &bias1, &bias2);
    run_pass(&work, yogi_pass);
    free(work.scalars);
    return 0;
}

/* momentum_decay; memory: the product of the momenta */
int nadam(const Job *job) {
    Work work;
    double bias1, bias2;
    if (!open_work(&work, job)) return 1;
    for (int64_t i = 0; i < job->count; i++) {
        if (!has_gradient(job, i)) continue;
        REAL *s = work.scalars[i];
        const double t = adam_scalars(job, i, s, 0, &bias1, &bias2), lr = job->hyper[0][i], beta1 = job->hyper[1][i],
                     slowing = job->hyper[5][i], mu = beta1 * (1 - 0.5 * pow(0.96, t * slowing)),
                     next = beta1 * (1 - 0.5 * pow(0.96, (t + 1) * slowing));
        job->memory[i] *= mu;
        s[STEP] = (REAL)(lr * next / (1 - job->memory[i] * next));
        s[EXTRA1] = (REAL)(lr * (1 - mu) / (1 - job->memory[i]));
    }
    run_pass(&work, nadam_pass);
    free(work.scalars);
    return 0;
}

static void radam_pass(const Work *w, int64_t i, int64_t start, int64_t n, int64_t chunk) {
    if (w->scalars[i][EXTRA1] != 0) radam_rectified_pass(w, i, start, n, chunk);
    else radam_plain_pass(w, i, start, n, chunk);
}

/* option 1: decoupled weight decay; 2: no step until rectified */
int radam(const Job *job) {
    Work work;
    double bias1, bias2;
    if (!open_work(&work, job)) return 1;
    for (int64_t i = 0; i < job->count; i++) {
        if (!has_gradient(job, i)) continue;
        REAL *s = work.scalars[i];
        const double t = adam_scalars(job, i, s, (int)(job->option & 1), &bias1, &bias2);
        const double limit = 2 / (1 - job->hyper[2][i]) - 1, rho = limit - 2 * t * (1 - bias2) / bias2;
        if (rho > 5) {
            const double squared = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho);
            s[STEP] = (REAL)(job->hyper[0][i] / bias1 * sqrt(squared) * sqrt(bias2));
            s[EXTRA1] = 1;
        } else if (job->option & 2) {
            s[STEP] = 0;
            s[SHRINK] = 1;
        }
    }
    run_pass(&work, radam_pass);
    free(work.scalars);
    return 0;
}

/* ---- CProp: arrays theta, grad, mean, variance, then those of the optimizer; option, from bit 2: the cdf ---- */

/* e^-x for x >= 0, to an ulp or two, in operations that the compiler can vectorize. */
INLINE REAL exp_minus(REAL x) {
#ifdef DOUBLE
    const REAL most = 700, magic = 0x1.8p52, log2e = 0x1.71547652b82fep0, high = 0x1.62e42fefa38p-1,
               low = 0x1.ef35793c7673p-45;
    typedef uint64_t Bits;
    enum { MANTISSA = 52 };
#define POLYNOMIAL                                                                                                     \
    p = p * r + 1.0 / 479001600; p = p * r + 1.0 / 39916800; p = p * r + 1.0 / 3628800; p = p * r + 1.0 / 362880;      \
    p = p * r + 1.0 / 40320; p = p * r + 1.0 / 5040; p = p * r + 1.0 / 720; p = p * r + 1.0 / 120;                     \
    p = p * r + 1.0 / 24; p = p * r + 1.0 / 6; p = p * r + 0.5;
#define FIRST (1.0 / 6227020800)
#else
    const REAL most = 87, magic = 0x1.8p23f, log2e = 0x1.715476p0f, high = 0x1.62ep-1f, low = 0x1.0bfbe8p-15f;
    typedef uint32_t Bits;
    enum { MANTISSA = 23 };
#define POLYNOMIAL                                                                                                     \
    p = p * r + 1.0f / 720; p = p * r + 1.0f / 120; p = p * r + 1.0f / 24; p = p * r + 1.0f / 6; p = p * r + 0.5f;
#define FIRST (1.0f / 5040)
#endif
    const REAL y = -(x > most ? most : x), shifted = y * log2e + magic; /* its last bits are the nearest integer */
    const REAL n = shifted - magic, r = (y - n * high) - n * low;
    Bits last, bits;
    REAL p = FIRST, result;
    POLYNOMIAL
    p = (p * r + 1) * r + 1;
    memcpy(&last, &shifted, sizeof last);
    memcpy(&bits, &p, sizeof bits);
    bits += last << MANTISSA; /* times 2^n */
    memcpy(&result, &bits, sizeof result);
    return x != x ? x : result;
}

enum { C_NEWEST, C_OLDER, C_FREEDOM, C_FACTOR, C_EPS, C_CUBIC, C_LINEAR, C_OWN };

/* Take the gradient into its statistics; the scale of the step, |2 P - 1| as tanh. */
INLINE REAL conformity(REAL g, REAL *mean, REAL *variance, const REAL *s) {
    const REAL deviation = g - *mean;
    const REAL spread = (*variance + deviation * deviation * s[C_NEWEST]) * s[C_OLDER];
    const REAL middle = *mean + deviation * s[C_NEWEST];
    *variance = spread;
    *mean = middle;
    REAL error = SQRT(spread * s[C_FREEDOM]) + s[C_EPS];
    error = middle == 0 ? 1 : error;
    REAL z = FABS(middle / error);
    z = z > 10000 ? 10000 : z; /* certainty long before; keeps its square finite */
    const REAL e = exp_minus(2 * (z * z * s[C_CUBIC] + s[C_LINEAR]) * z);
    const REAL scale = (1 - e) / (1 + e) * s[C_FACTOR];
    return scale > 1 ? 1 : scale;
}

/* Places of cprop_beta, cprop_c, cprop_eps are from `place` on. */
static void conformity_scalars(const Job *job, int64_t i, REAL *s, int place, double t) {
    const double beta = job->hyper[place][i], eps = job->hyper[place + 2][i], correction = 1 - pow(beta, t),
                 newest = (1 - beta) / correction, freedom = correction / (1 - beta) - 1 + eps;
    const int64_t cdf = job->option >> 2;
    s[C_NEWEST] = (REAL)newest;
    s[C_OLDER] = (REAL)(1 - newest);
    s[C_FREEDOM] = (REAL)(freedom == 0 ? 1 : 1 / freedom);
    s[C_FACTOR] = (REAL)job->hyper[place + 1][i];
    s[C_EPS] = (REAL)eps;
    s[C_CUBIC] = (REAL)(cdf == 0 ? 0.07056 / 2 : 0);
    s[C_LINEAR] = (REAL)((cdf == 0 ? 1.5976 : cdf == 1 ? 1.702 : 3.14159265358979323846 / sqrt(3)) / 2);
}

enum { S_LR = C_OWN, S_MOMENTUM, S_WEIGHT, S_DECAY, S_SIGN };

INLINE void cprop_sgd_loop(int nesterov, REAL *restrict theta, const REAL *restrict grad, REAL *restrict mean,
                           REAL *restrict variance, REAL *restrict buffer, int64_t n, const REAL *s) {
    for (int64_t k = 0; k < n; k++) {
        const REAL g = s[S_SIGN] * grad[k];
        const REAL scale = conformity(g, &mean[k], &variance[k], s);
        const REAL d = g + s[S_DECAY] * theta[k];
        const REAL b = s[S_MOMENTUM] * buffer[k] + s[S_WEIGHT] * d;
        buffer[k] = b;
        theta[k] -= scale * (nesterov ? d + s[S_MOMENTUM] * b : b) * s[S_LR];
    }
}

static void cprop_sgd_pass(const Work *w, int64_t i, int64_t start, int64_t n, int64_t chunk) {
    REAL *a[5], s[SCALARS];
    (void)chunk;
    for (int x = 0; x < 5; x++) a[x] = at(w->job, x, i) + start;
    for (int x = 0; x < SCALARS; x++) s[x] = w->scalars[i][x];
    if (w->job->option & 1) cprop_sgd_loop(1, a[0], a[1], a[2], a[3], a[4], n, s);
    else cprop_sgd_loop(0, a[0], a[1], a[2], a[3], a[4], n, s);
}

/* hyper: lr, momentum, dampening, weight_decay, then CProp's; option 1: Nesterov */
int cprop_sgd(const Job *job) {
    Work work;
    if (!open_work(&work, job)) return 1;
    for (int64_t i = 0; i < job->count; i++) {
        if (!has_gradient(job, i)) continue;
        REAL *s = work.scalars[i];
        const double t = advance(job, i), momentum = job->hyper[1][i];
        conformity_scalars(job, i, s, 4, t);
        s[S_LR] = (REAL)job->hyper[0][i];
        s[S_MOMENTUM] = (REAL)momentum;
        s[S_WEIGHT] = (REAL)(t == 1 || momentum == 0 ? 1 : 1 - job->hyper[2][i]);
        s[S_DECAY] = (REAL)job->hyper[3][i];
        s[S_SIGN] = (REAL)sign_of(job, i);
    }
    run_pass(&work, cprop_sgd_pass);
    free(work.scalars);
    return 0;
}

INLINE void cprop_adam_loop(int amsgrad, REAL *restrict theta, const REAL *restrict grad, REAL *restrict mean,
                            REAL *restrict variance, REAL *restrict m, REAL *restrict v, REAL *restrict v_max,
                            int64_t n, const REAL *s, const REAL *c) {
    for (int64_t k = 0; k < n; k++) {
        const REAL g = s[SIGN] * grad[k] + s[COUPLE] * theta[k];
        const REAL m_new = s[BETA1] * m[k] + s[REST1] * g, v_new = s[BETA2] * v[k] + s[REST2] * (g * g);
        const REAL scale = conformity(g, &mean[k], &variance[k], c);
        REAL v_used = v_new;
        m[k] = m_new;
        v[k] = v_new;
        if (amsgrad) {
            v_used = v_max[k] >= v_new ? v_max[k] : v_new;
            v_used = v_max[k] != v_max[k] ? v_max[k] : v_used;
            v_max[k] = v_used;
        }
        theta[k] -= scale * (m_new * s[STEP] / (SQRT(v_used) / s[ROOT2] + s[EPS]));
    }
}

static void cprop_adam_pass(const Work *w, int64_t i, int64_t start, int64_t n, int64_t chunk) {
    const int amsgrad = (int)(w->job->option & 2);
    REAL *a[7], s[SCALARS];
    (void)chunk;
    for (int x = 0; x < 6 + (amsgrad != 0); x++) a[x] = at(w->job, x, i) + start;
    for (int x = 0; x < SCALARS; x++) s[x] = w->scalars[i][x];
    if (amsgrad) cprop_adam_loop(1, a[0], a[1], a[2], a[3], a[4], a[5], a[6], n, s, s + EXTRA1);
    else cprop_adam_loop(0, a[0], a[1], a[2], a[3], a[4], a[5], NULL, n, s, s + EXTRA1);
}

/* hyper: as adam, then CProp's; option 2: AMSGrad */
int cprop_adam(const Job *job) {
    Work work;
    double bias1, bias2;
    if (!open_work(&work, job)) return 1;
    for (int64_t i = 0; i < job->count; i++) {
        if (!has_gradient(job, i)) continue;
        const double t = adam_scalars(job, i, work.scalars[i], 0, &bias1, &bias2);
        conformity_scalars(job, i, work.scalars[i] + EXTRA1, 5, t);
    }
    run_pass(&work, cprop_adam_pass);
    free(work.scalars);
    return 0;
}

/* ---- AdaShift: arrays theta, grad, window (slots of gradients), v, weight; hyper lr, beta1, beta2, eps ---- */

enum { REDUCE_MAX, REDUCE_MEAN, REDUCE_NONE }; /* the job's option */
enum { H_BETA2, H_REST2, H_EPS, H_LR, H_SIGN, H_SCALE };

INLINE REAL *slot_of(const Job *job, int64_t segment, int64_t slot) {
    return at(job, 2, segment) + slot * (job->slot_size ? job->slot_size : size_of(job, segment));
}

/* The largest, or the sum, of the squares of the gradient that leaves the window. */
static void shift_reduce_pass(const Work *w, int64_t i, int64_t start, int64_t n, int64_t chunk) {
    const REAL *old = slot_of(w->job, i, w->job->step[i] % w->job->slots) + start;
    if (w->job->option == REDUCE_MAX) {
        REAL lane[SUM_LANES] = {0};
        int64_t k = 0;
        for (; k + SUM_LANES <= n; k += SUM_LANES)
            for (int l = 0; l < SUM_LANES; l++) {
                const REAL square = old[k + l] * old[k + l];
                lane[l] = square > lane[l] || square != square ? square : lane[l];
            }
        for (; k < n; k++) {
            const REAL square = old[k] * old[k];
            lane[0] = square > lane[0] || square != square ? square : lane[0];
        }
        for (int l = 1; l < SUM_LANES; l++) lane[0] = lane[l] > lane[0] || lane[l] != lane[l] ? lane[l] : lane[0];
        w->partial[chunk] = (double)lane[0]; /* NaN once there is one: nothing is greater */
    } else {
        REAL square[BLOCK];
        double sum = 0;
        for (int64_t from = 0; from < n; from += BLOCK) {
            const int64_t length = from + BLOCK < n ? BLOCK : n - from;
            for (int64_t k = 0; k < length; k++) square[k] = old[from + k] * old[from + k];
            sum += sum_lanes(square, length);
        }
        w->partial[chunk] = sum;
    }
}

INLINE REAL shift_scale(REAL v, REAL weight, const REAL *s) {
    const REAL least = (REAL)1e-8, mass = weight < least ? least : weight, denominator = SQRT(v / mass) + s[H_EPS];
    return weight > 0 && denominator != 0 ? s[H_LR] / denominator : 0 * denominator;
}

static void shift_pass(const Work *w, int64_t i, int64_t start, int64_t n, int64_t chunk) {
    const Job *job = w->job;
    REAL s[SCALARS]; /* a copy of its own, which no store can change */
    for (int x = 0; x < SCALARS; x++) s[x] = w->scalars[i][x];
    const int64_t slots = job->slots, newest = (job->step[i] + slots - 1) % slots; /* step is this one's already */
    const double beta1 = job->hyper[1][i];
    REAL *restrict theta = at(job, 0, i) + start, *restrict grad = at(job, 1, i) + start;
    double total = 0, power = 1;
    (void)chunk;
    for (int64_t age = 0; age < slots; age++, power *= beta1) total += power;
    for (int64_t from = 0; from < n; from += BLOCK) {
        const int64_t length = from + BLOCK < n ? BLOCK : n - from;
        REAL m[BLOCK];
        REAL *restrict current = slot_of(job, i, newest) + start + from;
        if (job->option == REDUCE_NONE) {
            REAL *restrict v = at(job, 3, i) + start + from, *restrict weight = at(job, 4, i) + start + from;
            for (int64_t k = 0; k < length; k++) {
                const REAL v_new = s[H_BETA2] * v[k] + s[H_REST2] * (current[k] * current[k]);
                const int started = v_new > 0 || weight[k] > 0;
                v[k] = v_new;
                weight[k] = s[H_BETA2] * weight[k] + (started ? s[H_REST2] : 0);
            }
        }
        for (int64_t k = 0; k < length; k++) current[k] = s[H_SIGN] * grad[from + k];
        double share = 1 / total;
        for (int64_t age = 0; age < slots; age++, share *= beta1) {
            const REAL *restrict g = slot_of(job, i, (newest - age + slots) % slots) + start + from;
            const REAL part = (REAL)share;
            if (age == 0) for (int64_t k = 0; k < length; k++) m[k] = g[k] * part;
            else for (int64_t k = 0; k < length; k++) m[k] += g[k] * part;
        }
        if (job->option == REDUCE_NONE) {
            const REAL *restrict v = at(job, 3, i) + start + from, *restrict weight = at(job, 4, i) + start + from;
            for (int64_t k = 0; k < length; k++) theta[from + k] -= m[k] * shift_scale(v[k], weight[k], s);
        } else {
            for (int64_t k = 0; k < length; k++) theta[from + k] -= m[k] * s[H_SCALE];
        }
    }
}

int adashift(const Job *job) {
    Work work;
    if (!open_work(&work, job)) return 1;
    work.partial = malloc((size_t)(work.chunks ? work.chunks : 1) * sizeof(double));
    if (!work.partial) {
        free(work.scalars);
        return 1;
    }
    if (job->option != REDUCE_NONE) run_pass(&work, shift_reduce_pass);
    int64_t chunk = 0;
    for (int64_t i = 0; i < job->count; i++) {
        const int64_t size = size_of(job, i), own = chunks_of(size);
        if (has_gradient(job, i)) {
            REAL *s = work.scalars[i];
            s[H_LR] = (REAL)job->hyper[0][i];
            s[H_BETA2] = (REAL)job->hyper[2][i];
            s[H_REST2] = (REAL)(1 - job->hyper[2][i]);
            s[H_EPS] = (REAL)job->hyper[3][i];
            s[H_SIGN] = (REAL)sign_of(job, i);
            if (job->option != REDUCE_NONE) {
                double phi = 0;
                for (int64_t c = 0; c < own; c++) {
                    const double part = work.partial[chunk + c];
                    if (job->option == REDUCE_MEAN) phi += part;
                    else phi = part > phi || part != part ? part : phi;
                }
                if (job->option == REDUCE_MEAN && size) phi /= (double)size;
                REAL *v = at(job, 3, i), *weight = at(job, 4, i);
                *v = s[H_BETA2] * *v + s[H_REST2] * (REAL)phi;
                *weight = s[H_BETA2] * *weight + (*v > 0 || *weight > 0 ? s[H_REST2] : 0);
                s[H_SCALE] = shift_scale(*v, *weight, s);
            }
            advance(job, i);
        }
        chunk += own;
    }
    run_pass(&work, shift_pass);
    free(work.partial);
    free(work.scalars);
    return 0;
}
