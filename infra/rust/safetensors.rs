//! Tensors in a SafeTensors file.

use crate::{json::Json, Outcome};
use std::{fs, path::Path};

/// A SafeTensors file: eight bytes with the length of a JSON header, the header, the values.
pub struct Tensors {
    header: Json,
    bytes: Vec<u8>,
    begin: usize,
}

impl Tensors {
    pub fn read(path: &Path) -> Outcome<Tensors> {
        let broken = |why: &str| format!("{}: {why}", path.display());
        let bytes = fs::read(path).map_err(|why| broken(&why.to_string()))?;
        let length = bytes.get(..8).ok_or_else(|| broken("too short for SafeTensors"))?;
        let length = length.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        let begin = usize::try_from(length).ok().and_then(|length| length.checked_add(8));
        let begin = begin.filter(|&begin| begin <= bytes.len());
        let begin = begin.ok_or_else(|| broken("the header is longer than the file: cut off?"))?;
        let header = std::str::from_utf8(&bytes[8..begin]).map_err(|_| broken("the header is not UTF-8"))?;
        let header = Json::parse(header).map_err(|why| broken(&why))?;
        Ok(Tensors { header, bytes, begin })
    }

    /// A tensor's values as f32, row by row; an error if it is missing or not of that shape.
    pub fn get(&self, name: &str, shape: &[usize]) -> Outcome<Vec<f32>> {
        let entry = self.header.get(name).ok_or_else(|| format!("there is no tensor {name}"))?;
        let found = entry.get("shape").and_then(Json::sizes).unwrap_or_default();
        if found != shape {
            return Err(format!("{name} has the shape {found:?}, not {shape:?}"));
        }
        let broken = || format!("broken header: no values of {name} where it says");
        let offsets = entry.get("data_offsets").and_then(Json::sizes).unwrap_or_default();
        let (from, to) = match offsets[..] {
            [from, to] => (from, to),
            _ => return Err(broken()),
        };
        let values = self.bytes[self.begin..].get(from..to).ok_or_else(broken)?;
        let dtype = entry.get("dtype").and_then(Json::text).unwrap_or("none");
        let (width, to_f32): (usize, fn(&[u8]) -> f32) = match dtype {
            "F32" => (4, |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            "F16" => (2, |b| half_to_f32(u16::from_le_bytes([b[0], b[1]]))),
            "BF16" => (2, |b| f32::from_le_bytes([0, 0, b[0], b[1]])),
            _ => return Err(format!("{name} is of the type {dtype:?}, not F32, F16 or BF16")),
        };
        if shape.iter().try_fold(width, |bytes, &size| bytes.checked_mul(size)) != Some(values.len()) {
            return Err(broken());
        }
        Ok(values.chunks_exact(width).map(to_f32).collect())
    }
}

/// IEEE 754's binary16. Its bits, moved to where f32 has exponent and mantissa, are too small by 2¹¹².
fn half_to_f32(bits: u16) -> f32 {
    let moved = u32::from(bits & 0x7fff) << 13;
    let size = match bits & 0x7c00 {
        0x7c00 => f32::from_bits(moved | 0x7f80_0000), // infinite, or not a number
        _ => f32::from_bits(moved) * f32::from_bits((127 + 112) << 23),
    };
    match bits >> 15 {
        0 => size,
        _ => -size,
    }
}
