// Two layers of mobile networks for training on a CPU, over bfloat16 maps with channels last: depthwise convolution,
// and batch norm with an optional ReLU6. Sums are in float. One thread an image range (at::parallel_for).
// No two pointers of a loop overlap: "ivdep" says so to the compiler, which then works on 16 channels at a time.
#include <torch/extension.h>

#include <cstring>
#include <vector>

using at::BFloat16;
using at::Tensor;
using i64 = int64_t;
using u16 = uint16_t;

static inline float wide(u16 b) {
  uint32_t w = uint32_t(b) << 16;
  float f;
  std::memcpy(&f, &w, 4);
  return f;
}

static inline u16 narrow(float f) {  // round to nearest even; no NaN comes here
  uint32_t w;
  std::memcpy(&w, &f, 4);
  return u16((w + 0x7FFF + ((w >> 16) & 1)) >> 16);
}

static u16* raw(const Tensor& t) { return reinterpret_cast<u16*>(t.data_ptr<BFloat16>()); }

// Taps of one output line that fall inside the input: first and one past the last kernel index.
static inline void span(i64 start, i64 size, i64 kernel, i64& first, i64& end) {
  first = std::max<i64>(0, -start);
  end = std::min<i64>(kernel, size - start);
}

// x (n, h, w, c) bf16, weight (k * k, c) float; padding is ``pad`` before, what is missing after -> (n, oh, ow, c)
Tensor depthwise(const Tensor& x, const Tensor& weight, i64 k, i64 stride, i64 pad, i64 oh, i64 ow) {
  i64 n = x.size(0), h = x.size(1), w = x.size(2), c = x.size(3);
  Tensor y = at::empty({n, oh, ow, c}, x.options());
  const u16* xs = raw(x);
  u16* ys = raw(y);
  const float* ws = weight.data_ptr<float>();
  at::parallel_for(0, n, 1, [&](i64 from, i64 to) {
    std::vector<float> sum(c);
    float* s = sum.data();
    for (i64 b = from; b < to; b++)
      for (i64 oy = 0; oy < oh; oy++)
        for (i64 ox = 0; ox < ow; ox++) {
          i64 top = oy * stride - pad, left = ox * stride - pad, y0, y1, x0, x1;
          span(top, h, k, y0, y1);
          span(left, w, k, x0, x1);
          std::memset(s, 0, c * sizeof(float));
          for (i64 ky = y0; ky < y1; ky++)
            for (i64 kx = x0; kx < x1; kx++) {
              const u16* p = xs + ((b * h + top + ky) * w + left + kx) * c;
              const float* q = ws + (ky * k + kx) * c;
              #pragma GCC ivdep
              for (i64 i = 0; i < c; i++) s[i] += wide(p[i]) * q[i];
            }
          u16* out = ys + ((b * oh + oy) * ow + ox) * c;
          #pragma GCC ivdep
          for (i64 i = 0; i < c; i++) out[i] = narrow(s[i]);
        }
  });
  return y;
}

// Gradients of ``depthwise``: of x (bf16) and of weight (float).
std::vector<Tensor> depthwise_backward(const Tensor& g, const Tensor& x, const Tensor& weight, i64 k, i64 stride, i64 pad) {
  i64 n = x.size(0), h = x.size(1), w = x.size(2), c = x.size(3), oh = g.size(1), ow = g.size(2);
  Tensor gx = at::empty_like(x), partial = at::zeros({at::get_num_threads(), k * k, c}, weight.options());
  const u16 *xs = raw(x), *gs = raw(g);
  u16* gxs = raw(gx);
  const float* ws = weight.data_ptr<float>();
  at::parallel_for(0, n, 1, [&](i64 from, i64 to) {
    float* gw = partial.data_ptr<float>() + at::get_thread_num() * k * k * c;
    std::vector<float> image(h * w * c), wide_g(c);
    float* go = wide_g.data();
    for (i64 b = from; b < to; b++) {
      std::memset(image.data(), 0, h * w * c * sizeof(float));
      for (i64 oy = 0; oy < oh; oy++)
        for (i64 ox = 0; ox < ow; ox++) {
          i64 top = oy * stride - pad, left = ox * stride - pad, y0, y1, x0, x1;
          span(top, h, k, y0, y1);
          span(left, w, k, x0, x1);
          const u16* g0 = gs + ((b * oh + oy) * ow + ox) * c;
          #pragma GCC ivdep
          for (i64 i = 0; i < c; i++) go[i] = wide(g0[i]);
          for (i64 ky = y0; ky < y1; ky++)
            for (i64 kx = x0; kx < x1; kx++) {
              i64 at_ = ((top + ky) * w + left + kx) * c;
              const u16* p = xs + b * h * w * c + at_;
              float* __restrict gi = image.data() + at_;
              const float* q = ws + (ky * k + kx) * c;
              float* __restrict gt = gw + (ky * k + kx) * c;
              #pragma GCC ivdep
              for (i64 i = 0; i < c; i++) {
                gi[i] += go[i] * q[i];
                gt[i] += go[i] * wide(p[i]);
              }
            }
        }
      u16* out = gxs + b * h * w * c;
      #pragma GCC ivdep
      for (i64 i = 0; i < h * w * c; i++) out[i] = narrow(image[i]);
    }
  });
  return {gx, partial.sum(0)};
}

// Mean and variance over all rows of x (rows, c) bf16, as floats.
static void moments(const u16* xs, i64 rows, i64 c, float* mean, float* var) {
  std::vector<float> a(c), b(c);
  std::vector<double> sum(c), square(c);
  for (i64 start = 0; start < rows; start += 256) {
    std::fill(a.begin(), a.end(), 0.f);
    std::fill(b.begin(), b.end(), 0.f);
    float *pa = a.data(), *pb = b.data();
    for (i64 r = start; r < std::min(rows, start + 256); r++) {
      const u16* p = xs + r * c;
      #pragma GCC ivdep
      for (i64 i = 0; i < c; i++) {
        float v = wide(p[i]);
        pa[i] += v;
        pb[i] += v * v;
      }
    }
    #pragma GCC ivdep
    for (i64 i = 0; i < c; i++) sum[i] += a[i], square[i] += b[i];
  }
  #pragma GCC ivdep
  for (i64 i = 0; i < c; i++) {
    double m = sum[i] / rows;
    mean[i] = m;
    var[i] = std::max(0.0, square[i] / rows - m * m);
  }
}

// Batch norm in training mode over x (rows, c), then ReLU6 if ``act`` -> y, mean, variance (biased).
std::vector<Tensor> norm(const Tensor& x, const Tensor& gain, const Tensor& shift, double eps, bool act) {
  i64 c = x.size(-1), rows = x.numel() / c;
  Tensor y = at::empty_like(x), mean = at::empty({c}, gain.options()), var = at::empty({c}, gain.options());
  float *m = mean.data_ptr<float>(), *v = var.data_ptr<float>();
  moments(raw(x), rows, c, m, v);
  std::vector<float> scale(c), bias(c);
  float *s = scale.data(), *b = bias.data();
  #pragma GCC ivdep
  for (i64 i = 0; i < c; i++) {
    s[i] = gain.data_ptr<float>()[i] / std::sqrt(v[i] + float(eps));
    b[i] = shift.data_ptr<float>()[i] - m[i] * s[i];
  }
  const u16* xs = raw(x);
  u16* ys = raw(y);
  float low = act ? 0.f : -3e38f, high = act ? 6.f : 3e38f;
  at::parallel_for(0, rows, 256, [&](i64 from, i64 to) {
    for (i64 r = from; r < to; r++) {
      const u16* p = xs + r * c;
      u16* q = ys + r * c;
      #pragma GCC ivdep
      for (i64 i = 0; i < c; i++) q[i] = narrow(std::min(std::max(wide(p[i]) * s[i] + b[i], low), high));
    }
  });
  return {y, mean, var};
}

// Gradients of ``norm``: of x, gain and shift. Where ReLU6 is flat, g does not count.
std::vector<Tensor> norm_backward(const Tensor& g, const Tensor& x, const Tensor& gain, const Tensor& shift,
                                  const Tensor& mean, const Tensor& var, double eps, bool act) {
  i64 c = x.size(-1), rows = x.numel() / c;
  Tensor gx = at::empty_like(x), g_gain = at::zeros({c}, gain.options()), g_shift = at::zeros({c}, gain.options());
  std::vector<float> inv_(c), s_(c), b_(c), k1_(c), k2_(c);
  float *inv = inv_.data(), *s = s_.data(), *b = b_.data(), *k1 = k1_.data(), *k2 = k2_.data();
  const float *m = mean.data_ptr<float>(), *ga = gain.data_ptr<float>();
  float *sum_gx = g_gain.data_ptr<float>(), *sum_g = g_shift.data_ptr<float>();
  #pragma GCC ivdep
  for (i64 i = 0; i < c; i++) {
    inv[i] = 1.f / std::sqrt(var.data_ptr<float>()[i] + float(eps));
    s[i] = ga[i] * inv[i];
    b[i] = shift.data_ptr<float>()[i] - m[i] * s[i];
  }
  float low = act ? 0.f : -3e38f, high = act ? 6.f : 3e38f;
  const u16 *xs = raw(x), *gs = raw(g);
  std::vector<float> part_g(c), part_x(c);
  for (i64 start = 0; start < rows; start += 256) {  // sums of sums: float loses little
    float *pg = part_g.data(), *px = part_x.data();
    std::memset(pg, 0, c * sizeof(float));
    std::memset(px, 0, c * sizeof(float));
    for (i64 r = start; r < std::min(rows, start + 256); r++)
      #pragma GCC ivdep
      for (i64 i = 0; i < c; i++) {
        float v = wide(xs[r * c + i]), z = v * s[i] + b[i];
        float gi = (z > low) & (z < high) ? wide(gs[r * c + i]) : 0.f;
        pg[i] += gi;
        px[i] += gi * (v - m[i]);
      }
    #pragma GCC ivdep
    for (i64 i = 0; i < c; i++) sum_g[i] += pg[i], sum_gx[i] += px[i] * inv[i];
  }
  #pragma GCC ivdep
  for (i64 i = 0; i < c; i++) k1[i] = sum_g[i] / rows, k2[i] = sum_gx[i] / rows * inv[i];
  u16* out = raw(gx);
  at::parallel_for(0, rows, 256, [&](i64 from, i64 to) {
    for (i64 r = from; r < to; r++)
      #pragma GCC ivdep
      for (i64 i = 0; i < c; i++) {
        float v = wide(xs[r * c + i]), z = v * s[i] + b[i];
        float gi = (z > low) & (z < high) ? wide(gs[r * c + i]) : 0.f;
        out[r * c + i] = narrow(s[i] * (gi - k1[i] - (v - m[i]) * k2[i]));
      }
  });
  return {gx, g_gain, g_shift};
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.def("depthwise", &depthwise);
  module.def("depthwise_backward", &depthwise_backward);
  module.def("norm", &norm);
  module.def("norm_backward", &norm_backward);
}
