//! What processes use, read from /proc.

use std::collections::HashMap;
use std::path::Path;

/// Linux counts CPU time for user space in hundredths of a second (`USER_HZ`), on every architecture that we build for.
const TICKS: f64 = 100.0;

/// CPU seconds of `pid`, of what it started, and of those of them that have ended and were waited for.
#[must_use]
pub fn tree_cpu(pid: i32) -> f64 {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    let mut used: HashMap<i32, f64> = HashMap::new();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return 0.0;
    };
    for entry in entries.flatten() {
        let Some(found) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Some((parent, cpu)) = stat(&entry.path()) else {
            continue;
        };
        children.entry(parent).or_default().push(found);
        used.insert(found, cpu);
    }
    let (mut todo, mut sum) = (vec![pid], 0.0);
    while let Some(next) = todo.pop() {
        sum += used.get(&next).copied().unwrap_or(0.0);
        todo.extend(children.remove(&next).unwrap_or_default());
    }
    sum
}

/// CPU seconds of this process alone, without its children.
#[must_use]
pub fn own_cpu() -> f64 {
    process_cpu(i32::try_from(std::process::id()).unwrap_or(0))
}

/// CPU seconds of `pid` alone.
#[must_use]
pub fn process_cpu(pid: i32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    fields(&text).map_or(0.0, |fields| (fields[11] + fields[12]) / TICKS)
}

fn stat(path: &Path) -> Option<(i32, f64)> {
    let text = std::fs::read_to_string(path.join("stat")).ok()?;
    let fields = fields(&text)?;
    #[expect(clippy::cast_possible_truncation, reason = "a process id fits")]
    let parent = fields[1] as i32;
    Some((parent, fields[11..15].iter().sum::<f64>() / TICKS))
}

/// The numbers behind the name of the program (proc(5)): the state counts as the first, as 0.
fn fields(stat: &str) -> Option<Vec<f64>> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<f64> = rest
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    (fields.len() > 15).then_some(fields)
}

/// A memory figure of `pid` in MiB, such as `VmRSS` or `VmHWM`; none if the process has ended.
#[must_use]
pub fn memory(pid: i32, figure: &str) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with(figure))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Makes the kernel forget the peak of `pid`, so that `VmHWM` counts from now (proc(5), `clear_refs`).
pub fn forget_peak(pid: i32) {
    #[expect(clippy::disallowed_methods, reason = "a switch of the kernel, not a file")]
    let _older_kernels_have_no_such_switch = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_uses_time_and_memory() {
        let before = own_cpu();
        let mut sum = 0_u64;
        while own_cpu() - before < 0.02 {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        assert!(sum > 0);
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(memory(pid, "VmRSS").unwrap() > 0.5);
        assert!(tree_cpu(pid) >= 0.02);
    }
}
