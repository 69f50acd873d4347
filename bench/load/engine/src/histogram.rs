//! Log-linear histograms of nanoseconds, in the manner of HdrHistogram: a fixed grid, so that merging is addition.
//!
//! A value below 2^bits has a cell of its own; above, each power of two is cut into 2^bits cells, so that a cell's width is
//! at most 2^-bits of its value. `bits = 12` is 0.024 %, `bits = 8` is 0.4 %.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// Precision of a whole run's histograms: half a cell at 300 ms is 0.04 ms.
pub const FINE: u32 = 12;
/// Precision of the histograms kept for each second.
pub const COARSE: u32 = 8;

enum Cells {
    Dense(Vec<u64>),
    Sparse(BTreeMap<u32, u64>),
}

pub struct Histogram {
    bits: u32,
    cells: Cells,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

/// The cell of a value.
pub fn cell_of(bits: u32, value: u64) -> u32 {
    if value >> bits == 0 {
        return value as u32;
    }
    let power = 63 - value.leading_zeros();
    let within = (value >> (power - bits)) as u32 & ((1 << bits) - 1);
    ((power - bits + 1) << bits) + within
}

impl Histogram {
    /// For the few series that see every sample: the array is only touched where samples fall.
    pub fn dense(bits: u32) -> Self {
        Self::with(bits, Cells::Dense(vec![0; ((65 - bits) << bits) as usize]))
    }

    /// For the many that see few: one a second, one a backend.
    pub fn sparse(bits: u32) -> Self {
        Self::with(bits, Cells::Sparse(BTreeMap::new()))
    }

    fn with(bits: u32, cells: Cells) -> Self {
        Self { bits, cells, count: 0, sum: 0, min: u64::MAX, max: 0 }
    }

    pub fn record(&mut self, value: u64) {
        let cell = cell_of(self.bits, value);
        match &mut self.cells {
            Cells::Dense(cells) => cells[cell as usize] += 1,
            Cells::Sparse(cells) => *cells.entry(cell).or_insert(0) += 1,
        }
        self.count += 1;
        self.sum += u128::from(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    fn filled(&self) -> Vec<(u32, u64)> {
        match &self.cells {
            Cells::Dense(cells) if self.count > 0 => {
                let (first, last) = (cell_of(self.bits, self.min), cell_of(self.bits, self.max));
                (first..=last).map(|cell| (cell, cells[cell as usize])).filter(|&(_, count)| count > 0).collect()
            }
            Cells::Dense(_) => Vec::new(),
            Cells::Sparse(cells) => cells.iter().map(|(&cell, &count)| (cell, count)).collect(),
        }
    }

    /// Lower edge of the cell that holds the sample of this rank, for the live view.
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (cell, count) in self.filled() {
            seen += count;
            if seen >= rank {
                return floor_of(self.bits, cell).clamp(self.min, self.max);
            }
        }
        0
    }
}

/// The smallest value of a cell.
pub fn floor_of(bits: u32, cell: u32) -> u64 {
    if cell >> bits == 0 {
        return u64::from(cell);
    }
    let power = (cell >> bits) - 1;
    (u64::from(cell & ((1 << bits) - 1)) + (1 << bits)) << power
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (cells, counts): (Vec<u32>, Vec<u64>) = self.filled().into_iter().unzip();
        let mut out = serializer.serialize_struct("Histogram", 7)?;
        out.serialize_field("bits", &self.bits)?;
        out.serialize_field("count", &self.count)?;
        out.serialize_field("sum", &(self.sum.min(u128::from(u64::MAX)) as u64))?;
        out.serialize_field("min", &if self.count > 0 { self.min } else { 0 })?;
        out.serialize_field("max", &self.max)?;
        out.serialize_field("cells", &cells)?;
        out.serialize_field("counts", &counts)?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_lies_in_its_cell_and_the_cell_is_narrow(value in any::<u64>(), bits in 4u32..=12) {
            let cell = cell_of(bits, value);
            let floor = floor_of(bits, cell);
            prop_assert!(floor <= value);
            prop_assert!(value - floor <= value >> bits);
        }

        #[test]
        fn cells_are_in_the_order_of_values(left in any::<u64>(), right in any::<u64>()) {
            prop_assert_eq!(cell_of(12, left) < cell_of(12, right), floor_of(12, cell_of(12, left)) < floor_of(12, cell_of(12, right)));
        }

        #[test]
        fn dense_and_sparse_hold_the_same(values in proptest::collection::vec(0u64..1 << 40, 1..200)) {
            let (mut dense, mut sparse) = (Histogram::dense(FINE), Histogram::sparse(FINE));
            for value in &values {
                dense.record(*value);
                sparse.record(*value);
            }
            prop_assert_eq!(serde_json::to_string(&dense).unwrap(), serde_json::to_string(&sparse).unwrap());
        }
    }

    #[test]
    fn the_largest_value_has_a_cell() {
        let mut histogram = Histogram::dense(FINE);
        histogram.record(u64::MAX);
        assert_eq!(histogram.count(), 1);
    }
}
