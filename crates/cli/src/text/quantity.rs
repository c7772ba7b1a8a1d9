//! Bytes, durations, moments and shares as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NS_PER_US: u64 = 1_000;
const NS_PER_MS: u64 = 1_000_000;
const NS_PER_S: u64 = 1_000_000_000;
const MS_PER_S: u64 = 1_000;
const MS_PER_DAY: u64 = 24 * 60 * 60 * MS_PER_S;

/// A number of bytes in binary units (IEC 80000-13), such as `1.5 MiB`.
pub fn bytes(n_bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n_bytes < 1024 {
        return format!("{n_bytes} B");
    }
    let mut unit = 0;
    let mut divisor: u64 = 1024;
    while unit + 1 < UNITS.len() && n_bytes / divisor >= 1024 {
        divisor *= 1024;
        unit += 1;
    }
    let value = ratio(n_bytes, divisor);
    if n_bytes.is_multiple_of(divisor) {
        format!("{} {}", n_bytes / divisor, UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// A duration in the unit that keeps three digits or so, such as `1.25 ms`.
pub fn duration_ns(ns: u64) -> String {
    match ns {
        0 => "0".to_owned(),
        1..NS_PER_US => format!("{ns} ns"),
        NS_PER_US..NS_PER_MS => scaled(ns, NS_PER_US, "µs"),
        NS_PER_MS..NS_PER_S => scaled(ns, NS_PER_MS, "ms"),
        _ if ns < 120 * NS_PER_S => scaled(ns, NS_PER_S, "s"),
        _ => coarse(ns / NS_PER_S),
    }
}

/// A duration given in milliseconds.
pub fn duration_ms(ms: u64) -> String {
    duration_ns(ms.saturating_mul(NS_PER_MS))
}

/// How long before `now_unix_ms` something was, such as `5 min ago`.
pub fn ago(then_unix_ms: u64, now_unix_ms: u64) -> String {
    let seconds = now_unix_ms.saturating_sub(then_unix_ms) / MS_PER_S;
    match seconds {
        0..2 => "just now".to_owned(),
        2..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// A moment in UTC, to the millisecond (RFC 3339).
pub fn moment(unix_ms: u64) -> String {
    // The year 9999 is the last one that RFC 3339 can spell.
    const UNIX_MS_MAX: u64 = 253_402_300_799_999;
    let time = UNIX_EPOCH + Duration::from_millis(unix_ms.min(UNIX_MS_MAX));
    humantime::format_rfc3339_millis(time).to_string()
}

/// What was used of a limit, in percent.
pub fn percent(used: u64, max: u64) -> String {
    if max == 0 {
        return "-".to_owned();
    }
    let share = 100.0 * ratio(used, max);
    if share > 0.0 && share < 0.1 {
        "<0.1 %".to_owned()
    } else {
        format!("{share:.1} %")
    }
}

/// Now, in milliseconds since the Unix epoch.
pub fn now_unix_ms() -> u64 {
    to_unix_ms(SystemTime::now())
}

/// A moment as people type it: an age (`24h`, `90m`, `7d`), a day (`2026-11-01`, its start in UTC) or
/// a time (`2026-11-01T12:30:00Z`). In milliseconds since the Unix epoch.
///
/// # Errors
/// One sentence that says which forms there are.
pub fn parse_moment(text: &str, now_unix_ms: u64) -> Result<u64, String> {
    const HELP: &str = "give an age such as 24h or 7d, a day such as 2026-11-01, or a time such as \
                        2026-11-01T12:30:00Z";
    if let Ok(age) = humantime::parse_duration(text) {
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        return Ok(now_unix_ms.saturating_sub(age_ms));
    }
    let parsed = if text.len() == "2026-11-01".len() {
        humantime::parse_rfc3339_weak(&format!("{text} 00:00:00"))
    } else {
        humantime::parse_rfc3339_weak(text)
    };
    parsed.map(to_unix_ms).map_err(|_| HELP.to_owned())
}

/// The start of the UTC day, in milliseconds since the Unix epoch.
pub fn start_of_day(unix_ms: u64) -> u64 {
    unix_ms - unix_ms % MS_PER_DAY
}

fn to_unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn coarse(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3_600, seconds % 3_600 / 60);
    if hours > 0 {
        format!("{hours} h {minutes} min")
    } else {
        format!("{minutes} min {} s", seconds % 60)
    }
}

fn scaled(value: u64, unit: u64, name: &str) -> String {
    if value.is_multiple_of(unit) {
        return format!("{} {name}", value / unit);
    }
    let value = ratio(value, unit);
    if value < 10.0 {
        format!("{value:.2} {name}")
    } else {
        format!("{value:.1} {name}")
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "shown with two digits after the point at most"
)]
fn ratio(value: u64, unit: u64) -> f64 {
    value as f64 / unit as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (128 << 20, "128 MiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (n_bytes, text) in cases {
            assert_eq!(bytes(n_bytes), text);
        }
    }

    #[test]
    fn durations_read_well() {
        let cases = [
            (0, "0"),
            (999, "999 ns"),
            (12_345, "12.3 µs"),
            (1_234_567, "1.23 ms"),
            (30_000_000_000, "30 s"),
            (150_000_000_000, "2 min 30 s"),
            (7_260_000_000_000, "2 h 1 min"),
        ];
        for (ns, text) in cases {
            assert_eq!(duration_ns(ns), text);
        }
        assert_eq!(duration_ms(1_500), "1.50 s");
        assert_eq!(ago(0, 59_000), "59 s ago");
        assert_eq!(ago(5_000, 0), "just now");
        assert_eq!(ago(0, 3 * MS_PER_DAY), "3 days ago");
    }

    #[test]
    fn shares_read_well() {
        assert_eq!(percent(1, 4), "25.0 %");
        assert_eq!(percent(1, 1_000_000), "<0.1 %");
        assert_eq!(percent(0, 10), "0.0 %");
        assert_eq!(percent(0, 0), "-");
    }

    #[test]
    fn moments_are_parsed_in_every_form() {
        let now = 1_795_449_600_000; // 2026-11-23T16:00:00Z
        assert_eq!(moment(now), "2026-11-23T16:00:00.000Z");
        assert_eq!(parse_moment("24h", now), Ok(now - MS_PER_DAY));
        assert_eq!(parse_moment("7d", now), Ok(now - 7 * MS_PER_DAY));
        assert_eq!(parse_moment("2026-11-23", now), Ok(start_of_day(now)));
        assert_eq!(parse_moment("2026-11-23T16:00:00Z", now), Ok(now));
        assert_eq!(parse_moment("9999d", 5), Ok(0));
        for junk in ["", "yesterday", "2026-13-01", "-1h", "24", "2026-11-01x"] {
            assert!(parse_moment(junk, now).is_err(), "{junk}");
        }
    }

    #[test]
    fn no_moment_panics() {
        assert_eq!(moment(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
