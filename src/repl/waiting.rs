//! The line under a running query: how much came, how fast, up to which time, and why nothing comes.

use super::format::cells::cut;
use crate::query::Progress;
use crate::status::{count, duration};

/// `12 rows | 3.0 s | 1,200 read (410/s) | watermark 10:00:05 | Ctrl-C ends it`
pub fn line(progress: &Progress, rows: u64, columns: usize) -> String {
    let mut parts = vec![
        if rows == 1 { "1 row".to_string() } else { format!("{} rows", count(rows)) },
        duration(progress.uptime),
        format!("{} read ({}/s)", count(progress.rows_read), count(progress.rows_per_second)),
    ];
    parts.extend(progress.watermark.map(|time| format!("watermark {time}")));
    parts.push(progress.waiting.clone().unwrap_or_else(|| "Ctrl-C ends it".into()));
    cut(&parts.join(" | "), columns.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_line_fits_the_screen() {
        let progress = Progress { uptime: Duration::from_secs(3), rows_read: 5, ..Progress::default() };
        assert_eq!(line(&progress, 12, 80), "12 rows | 3.0 s | 5 read (0/s) | Ctrl-C ends it");
        assert_eq!(line(&progress, 12, 12), "12 rows | …");
    }
}
