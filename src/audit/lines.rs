//! Records as lines, gathered for one write.

use std::time::SystemTime;

use super::form::RecordForm;
use super::line;
use super::loss::Lost;

/// The buffer is given back beyond this.
const KEPT_BUFFER: usize = 256 * 1024;

/// Lines for one write, and where each ends.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) bytes: Vec<u8>,
    /// Where the news of a gap ends, and what it says.
    gap: Option<(usize, Lost)>,
    ends: Vec<usize>,
}

impl Lines {
    pub(super) fn begin(&mut self, torn: bool, gap: Option<Lost>) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BUFFER);
        self.ends.clear();
        self.gap = None;
        if torn {
            // Ends the line that was cut, so that it spoils no other.
            self.bytes.push(b'\n');
        }
        if let Some(lost) = gap
            && line::append(&mut self.bytes, &lost.form(SystemTime::now())).is_ok()
        {
            self.gap = Some((self.bytes.len(), lost));
        }
    }

    pub(super) fn add(&mut self, form: &RecordForm<'_>) {
        if line::append(&mut self.bytes, form).is_ok() {
            self.ends.push(self.bytes.len());
        }
    }

    /// The gap of which the first `taken` bytes don't speak.
    pub(super) fn unsaid_within(&mut self, taken: usize) -> Option<Lost> {
        self.gap.take().filter(|(end, _)| *end > taken).map(|(_, lost)| lost)
    }

    /// How many lines lie within the first `taken` bytes.
    pub(super) fn whole_within(&self, taken: usize) -> usize {
        self.ends.partition_point(|end| *end <= taken)
    }

    pub(super) fn ends_at(&self, taken: usize) -> bool {
        taken.checked_sub(1).and_then(|last| self.bytes.get(last)) == Some(&b'\n')
    }
}
