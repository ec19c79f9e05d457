//! Documents of one request.

use std::io;

use serde::Deserialize;

/// The body of a request, and where each document ends in it.
pub(super) struct Batch {
    /// Number of the first document among all.
    pub first_row: usize,
    pub lines: Vec<u8>,
    pub ends: Vec<usize>,
}

#[derive(Deserialize)]
struct Action {
    index: ActionId,
}

#[derive(Deserialize)]
struct ActionId {
    _id: String,
}

impl Batch {
    pub fn starting_at(first_row: usize) -> Self {
        Self {
            first_row,
            lines: Vec::new(),
            ends: Vec::new(),
        }
    }

    pub fn push(
        &mut self,
        id: &str,
        write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.lines.extend_from_slice(br#"{"index":{"_id":"#);
        serde_json::to_writer(&mut self.lines, id)?;
        self.lines.extend_from_slice(b"}}\n");
        write(&mut self.lines)?;
        self.lines.push(b'\n');
        self.ends.push(self.lines.len());
        Ok(())
    }

    fn document(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.lines[start..self.ends[number]]
    }

    pub fn id(&self, number: usize) -> String {
        let document = self.document(number);
        let line = document
            .split(|&byte| byte == b'\n')
            .next()
            .unwrap_or_default();
        serde_json::from_slice::<Action>(line)
            .map_or_else(|_| String::new(), |action| action.index._id)
    }

    pub fn only(&self, numbers: &[usize]) -> Self {
        let mut batch = Self::starting_at(self.first_row);
        for &number in numbers {
            batch.lines.extend_from_slice(self.document(number));
            batch.ends.push(batch.lines.len());
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_documents_are_cut_out() {
        let mut batch = Batch::starting_at(7);
        for id in ["a", "b\"", "c"] {
            batch
                .push(id, |out| {
                    serde_json::to_writer(out, &[id]).map_err(io::Error::from)
                })
                .expect("memory");
        }
        assert_eq!(batch.id(1), "b\"");
        let rest = batch.only(&[0, 2]);
        assert_eq!(rest.first_row, 7);
        let text = String::from_utf8(rest.lines).expect("JSON");
        assert_eq!(
            text,
            "{\"index\":{\"_id\":\"a\"}}\n[\"a\"]\n{\"index\":{\"_id\":\"c\"}}\n[\"c\"]\n"
        );
    }
}
