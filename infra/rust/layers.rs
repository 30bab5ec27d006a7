//! What encoders are made of. Hidden states are [tokens, width], row by row in one slice.

use crate::{safetensors::Tensors, Outcome};

/// A table of embeddings, as [rows, width].
pub struct Table {
    values: Vec<f32>,
    rows: usize,
}

impl Table {
    pub fn load(tensors: &Tensors, name: &str, rows: usize, width: usize) -> Outcome<Table> {
        Ok(Table { values: tensors.get(name, &[rows, width])?, rows })
    }

    /// The rows one after the other; `what` names a number that is too large.
    pub fn take(&self, numbers: &[usize], what: &str) -> Outcome<Vec<f32>> {
        let width = self.values.len() / self.rows;
        match numbers.iter().find(|&&number| number >= self.rows) {
            Some(number) => Err(format!("{what} {number} is too large: the model has {}", self.rows)),
            None => Ok(numbers.iter().flat_map(|n| &self.values[n * width..][..width]).copied().collect()),
        }
    }
}

/// y = Wx + b, with W as [out, in], row by row.
pub struct Linear {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Linear {
    pub fn load(tensors: &Tensors, name: &str, output: usize, input: usize) -> Outcome<Linear> {
        let weight = tensors.get(&format!("{name}.weight"), &[output, input])?;
        Ok(Linear { weight, bias: tensors.get(&format!("{name}.bias"), &[output])? })
    }

    pub fn apply(&self, rows: &[f32]) -> Vec<f32> {
        let width = self.weight.len() / self.bias.len();
        let mut output = Vec::with_capacity(rows.len() / width * self.bias.len());
        for row in rows.chunks_exact(width) {
            let weights = self.weight.chunks_exact(width).zip(&self.bias);
            output.extend(weights.map(|(weight, bias)| dot(row, weight) + bias));
        }
        output
    }
}

/// Layer normalization.
pub struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

impl Norm {
    pub fn load(tensors: &Tensors, name: &str, width: usize, epsilon: f32) -> Outcome<Norm> {
        let weight = tensors.get(&format!("{name}.weight"), &[width])?;
        Ok(Norm { weight, bias: tensors.get(&format!("{name}.bias"), &[width])?, epsilon })
    }

    pub fn apply(&self, mut rows: Vec<f32>) -> Vec<f32> {
        let width = self.weight.len();
        for row in rows.chunks_exact_mut(width) {
            let mean = row.iter().sum::<f32>() / width as f32;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / width as f32;
            let scale = 1.0 / (variance + self.epsilon).sqrt();
            for ((x, weight), bias) in row.iter_mut().zip(&self.weight).zip(&self.bias) {
                *x = (*x - mean) * scale * weight + bias;
            }
        }
        rows
    }
}

/// Attention, then a feed-forward of two halves; each is added to what it was given, and normalized.
pub struct Layer {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub output: Linear,
    pub attention_norm: Norm,
    pub up: Linear,
    pub down: Linear,
    pub norm: Norm,
    pub heads: usize,
}

impl Layer {
    pub fn apply(&self, hidden: Vec<f32>) -> Vec<f32> {
        let attended = self.output.apply(&self.attend(&hidden));
        let hidden = self.attention_norm.apply(sum(hidden, &attended));
        let mut inner = self.up.apply(&hidden);
        inner.iter_mut().for_each(|x| *x = gelu(*x));
        let fed_forward = self.down.apply(&inner);
        self.norm.apply(sum(hidden, &fed_forward))
    }

    /// Every token's mean of all values, weighted by its attention, head by head.
    fn attend(&self, hidden: &[f32]) -> Vec<f32> {
        let (query, key, value) = (self.query.apply(hidden), self.key.apply(hidden), self.value.apply(hidden));
        let width = self.query.bias.len();
        let head = width / self.heads;
        let mut output = vec![0.0; hidden.len()];
        for (mean, query) in output.chunks_exact_mut(width).zip(query.chunks_exact(width)) {
            for at in (0..width).step_by(head) {
                let query = &query[at..at + head];
                let scores = key.chunks_exact(width).map(|key| dot(query, &key[at..at + head]));
                let weights = softmax(scores.map(|score| score / (head as f32).sqrt()).collect());
                for (weight, value) in weights.iter().zip(value.chunks_exact(width)) {
                    for (x, v) in mean[at..at + head].iter_mut().zip(&value[at..at + head]) {
                        *x += weight * v;
                    }
                }
            }
        }
        output
    }
}

/// Sixteen sums side by side, which the compiler turns into vector instructions.
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0; 16];
    let (left, right) = (left.chunks_exact(16), right.chunks_exact(16));
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(l, r)| l * r).sum();
    for (left, right) in left.zip(right) {
        for ((sum, l), r) in sums.iter_mut().zip(left).zip(right) {
            *sum += l * r;
        }
    }
    for half in [8, 4, 2, 1] {
        for at in 0..half {
            sums[at] += sums[at + half];
        }
    }
    sums[0] + rest
}

pub fn sum(mut left: Vec<f32>, right: &[f32]) -> Vec<f32> {
    left.iter_mut().zip(right).for_each(|(l, r)| *l += r);
    left
}

fn softmax(mut scores: Vec<f32>) -> Vec<f32> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
    let total: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= total);
    scores
}

fn gelu(x: f32) -> f32 {
    let x = f64::from(x);
    (0.5 * x * (1.0 + erf(x / 2f64.sqrt()))) as f32
}

/// The error function, to 2e-8: 2/√π · exp(-x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1·3·5···(2n+1)), whose terms have one sign.
fn erf(x: f64) -> f64 {
    if x.abs() >= 4.0 {
        return x.signum();
    }
    let (mut term, mut total, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-9 * total.abs() {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        total += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * total
}
