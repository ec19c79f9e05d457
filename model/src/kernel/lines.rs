//! Memory for packed matrices.

/// Numbers of four bytes that begin at a cache line: a register's worth never straddles two.
#[derive(Debug, Clone)]
pub struct Lines<T> {
    values: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Lines<T> {
    /// Numbers of a line.
    const LINE: usize = 64 / size_of::<T>();

    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let values = vec![T::default(); len + Self::LINE];
        let start = values.as_ptr().align_offset(64).min(Self::LINE);
        Self { values, start, len }
    }

    /// The numbers.
    pub fn as_slice(&self) -> &[T] {
        &self.values[self.start..self.start + self.len]
    }

    /// The numbers, to write to.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.values[self.start..self.start + self.len]
    }
}
