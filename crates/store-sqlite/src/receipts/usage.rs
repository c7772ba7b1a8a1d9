//! Sums over receipts: whole days and hours from rows, the rest from the segments themselves. They are
//! added here and not in SQL, whose integers end at 63 bits.

use std::collections::{BTreeMap, HashMap};

use model::FunctionKey;
use rusqlite::Connection;
use store::receipts::{DAY_MS, HOUR_MS, UsageGroup, UsageQuery, UsageRow, utc_day};

use super::{Covering, key_of, report_damage, to_time};
use crate::ledger::{DAY, HOUR, State, decode};
use crate::segment::Segment;

/// Why there are no exact sums.
pub(super) enum Inexact {
    /// What is damaged.
    Damaged(String),
    /// What is gone, and what may be asked for.
    Trimmed(String),
}

/// From a moment until before another, in milliseconds since the Unix epoch.
type Stretch = (i64, i64);

/// Where the sums of a time come from.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parts {
    days: Vec<Stretch>,
    hours: Vec<Stretch>,
    /// Within an hour.
    edges: Vec<Stretch>,
}

impl Parts {
    fn of(since: i64, until: i64) -> Self {
        let mut parts = Self::default();
        let (hour, day) = (HOUR_MS.cast_signed(), DAY_MS.cast_signed());
        let mut rest = vec![(since, until)];
        for (unit, whole) in [(day, &mut parts.days), (hour, &mut parts.hours)] {
            let mut smaller = Vec::new();
            for (since, until) in rest {
                let first = round_up(since, unit);
                let last = until - until % unit;
                if first >= last {
                    smaller.push((since, until));
                    continue;
                }
                whole.push((first, last));
                smaller.extend([(since, first), (last, until)]);
            }
            rest = smaller;
        }
        rest.retain(|(since, until)| since < until);
        // Two edges of one border may be left where it lies between two hours.
        for (since, until) in rest {
            let border = until - until % hour;
            match border > since && border < until {
                true => parts.edges.extend([(since, border), (border, until)]),
                false => parts.edges.push((since, until)),
            }
        }
        parts
    }
}

fn round_up(time: i64, unit: i64) -> i64 {
    match time % unit {
        0 => time,
        rest => (time - rest).saturating_add(unit),
    }
}

/// The sums of one moment of the file, in order of their keys.
pub(super) fn sum(
    moment: &Connection,
    query: &UsageQuery,
) -> rusqlite::Result<Result<Vec<UsageRow>, Inexact>> {
    let functions = match functions_of(moment, query)? {
        Ok(functions) => functions,
        Err(inexact) => return Ok(Err(inexact)),
    };
    let mut sums = Sums {
        moment,
        query,
        functions,
        state: State::load(moment)?,
        groups: BTreeMap::new(),
    };
    let parts = Parts::of(to_time(query.since_unix_ms), to_time(query.until_unix_ms));
    let outcome = sums.add_all(&parts)?;
    Ok(outcome.map(|()| sums.into_rows()))
}

/// The sums so far.
struct Sums<'q> {
    moment: &'q Connection,
    query: &'q UsageQuery,
    /// Those that the query asks for, by the number of their row.
    functions: HashMap<i64, FunctionKey>,
    state: State,
    /// By function's row number or by day; the keys' texts come at the end.
    groups: BTreeMap<i64, UsageRow>,
}

impl Sums<'_> {
    fn add_all(&mut self, parts: &Parts) -> rusqlite::Result<Result<(), Inexact>> {
        for edge in &parts.edges {
            if let Some(why) = self.is_edge_gone(*edge)? {
                return Ok(Err(why));
            }
        }
        for hours in &parts.hours {
            if let Some(why) = self.are_hours_gone(*hours)? {
                return Ok(Err(why));
            }
        }
        for (span, stretches) in [(DAY, &parts.days), (HOUR, &parts.hours)] {
            for stretch in stretches {
                if let Err(inexact) = self.add_rows(span, *stretch)? {
                    return Ok(Err(inexact));
                }
            }
        }
        for edge in &parts.edges {
            self.add_edge(*edge)?;
        }
        self.add_unrolled()?;
        Ok(Ok(()))
    }

    fn group(&mut self, function: i64, unix_ms: i64) -> &mut UsageRow {
        let group = match self.query.group {
            UsageGroup::Total => 0,
            UsageGroup::Function => function,
            UsageGroup::Day => unix_ms / DAY_MS.cast_signed(),
        };
        self.groups.entry(group).or_default()
    }

    /// Whole hours or days.
    fn add_rows(
        &mut self,
        span: i64,
        (since, until): Stretch,
    ) -> rusqlite::Result<Result<(), Inexact>> {
        let mut statement = self.moment.prepare_cached(ROWS)?;
        let mut rows = statement.query([span, since, until])?;
        while let Some(row) = rows.next()? {
            let (start, function): (i64, i64) = (row.get(0)?, row.get(1)?);
            if !self.functions.contains_key(&function) {
                continue;
            }
            let Some(sums) = decode(row.get_ref(2)?.as_blob()?) else {
                let day = utc_day(start.cast_unsigned());
                let what = format!("a sum of usage of {day} is damaged");
                return Ok(Err(Inexact::Damaged(what)));
            };
            self.group(function, start).merge(&sums);
        }
        Ok(Ok(()))
    }

    /// A part of an hour, from the segments whose sums are rows.
    fn add_edge(&mut self, (since, until): Stretch) -> rusqlite::Result<()> {
        let covering = Covering {
            first: since,
            last: until.saturating_sub(1),
            seq_max: self.state.rolled_seq,
        };
        let moment = self.moment;
        covering.each(moment, |seq, content| {
            self.add_segment(seq, content, (since, until));
            Ok(true)
        })
    }

    /// All of the segments whose sums are not rows.
    fn add_unrolled(&mut self) -> rusqlite::Result<()> {
        let sql = "SELECT seq, content FROM segments WHERE seq > ?1";
        let mut statement = self.moment.prepare_cached(sql)?;
        let mut rows = statement.query([self.state.rolled_seq])?;
        let until = to_time(self.query.until_unix_ms);
        while let Some(row) = rows.next()? {
            let stretch = (to_time(self.query.since_unix_ms), until);
            self.add_segment(row.get(0)?, row.get_ref(1)?.as_blob()?, stretch);
        }
        Ok(())
    }

    fn add_segment(&mut self, seq: i64, content: &[u8], (since, until): Stretch) {
        let receipts = Segment::read(content).and_then(|segment| segment.receipts());
        let Some(receipts) = receipts else {
            report_damage(seq);
            return;
        };
        for nameless in receipts {
            let at = to_time(nameless.accepted_unix_ms);
            let function = nameless.kind.function;
            let Some(key) = self.functions.get(&function) else {
                continue;
            };
            if (since..until).contains(&at) {
                let receipt = nameless.of(key.clone());
                self.group(function, at).add(&receipt);
            }
        }
    }

    /// Whether receipts of a part of an hour were trimmed.
    fn is_edge_gone(&self, (since, _): Stretch) -> rusqlite::Result<Option<Inexact>> {
        if since >= self.state.trimmed_until {
            return Ok(None);
        }
        let hour_ms = HOUR_MS.cast_signed();
        let hour = since - since % hour_ms;
        if let Some(why) = self.are_hours_gone((hour, hour + hour_ms))? {
            return Ok(Some(why));
        }
        if !self.has_row(HOUR, (hour, hour + 1))? {
            return Ok(None);
        }
        let until = self.state.trimmed_until;
        let why = format!(
            "receipts from before {} are gone; of that time there are sums of whole hours: let \
             `since` and `until` be whole hours (multiples of {HOUR_MS} ms)",
            moment_text(until)
        );
        Ok(Some(Inexact::Trimmed(why)))
    }

    /// Whether sums by hour were trimmed.
    fn are_hours_gone(&self, (since, until): Stretch) -> rusqlite::Result<Option<Inexact>> {
        let gone_until = self.state.hours_trimmed_until.min(until);
        let day = since - since % DAY_MS.cast_signed();
        if since >= gone_until || !self.has_row(DAY, (day, gone_until))? {
            return Ok(None);
        }
        let why = format!(
            "sums by hour from before {} are gone; of that time there are sums of whole days: let \
             `since` and `until` be whole UTC days",
            moment_text(self.state.hours_trimmed_until)
        );
        Ok(Some(Inexact::Trimmed(why)))
    }

    fn has_row(&self, span: i64, (since, until): Stretch) -> rusqlite::Result<bool> {
        let mut statement = self.moment.prepare_cached(ROWS)?;
        let mut rows = statement.query([span, since, until])?;
        while let Some(row) = rows.next()? {
            if self.functions.contains_key(&row.get(1)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn into_rows(mut self) -> Vec<UsageRow> {
        if self.query.group == UsageGroup::Total {
            self.groups.entry(0).or_default();
        }
        let groups = std::mem::take(&mut self.groups);
        let mut rows: Vec<UsageRow> = groups
            .into_iter()
            .map(|(group, sums)| UsageRow {
                key: self.text_of(group),
                ..sums
            })
            .collect();
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows
    }

    fn text_of(&self, group: i64) -> String {
        match self.query.group {
            UsageGroup::Total => String::new(),
            UsageGroup::Function => self.functions[&group].to_string(),
            UsageGroup::Day => utc_day(group.cast_unsigned() * DAY_MS),
        }
    }
}

pub(super) const ROWS: &str = "SELECT start, function, sums FROM usage
    WHERE span = ?1 AND start >= ?2 AND start < ?3";

/// The functions that the query asks for.
fn functions_of(
    moment: &Connection,
    query: &UsageQuery,
) -> rusqlite::Result<Result<HashMap<i64, FunctionKey>, Inexact>> {
    let mut statement = moment.prepare_cached("SELECT id, namespace, name FROM functions")?;
    let mut rows = statement.query([])?;
    let mut functions = HashMap::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let Some(key) = key_of(row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?) else {
            let what = format!("the name of function {id} is damaged");
            return Ok(Err(Inexact::Damaged(what)));
        };
        if query.selects(&key) {
            functions.insert(id, key);
        }
    }
    Ok(Ok(functions))
}

/// `2026-09-21 14:13 UTC`, rounded up to the minute.
fn moment_text(unix_ms: i64) -> String {
    let minutes = unix_ms.cast_unsigned().div_ceil(60_000);
    let of_day = minutes % (24 * 60);
    let day = utc_day(minutes * 60_000);
    format!("{day} {:02}:{:02} UTC", of_day / 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const H: i64 = 3_600_000;
    const D: i64 = 24 * H;

    #[test]
    fn a_time_is_cut_at_days_and_hours() {
        let check = |since, until, days: &[Stretch], hours: &[Stretch], edges: &[Stretch]| {
            let parts = Parts::of(since, until);
            assert_eq!(
                (&*parts.days, &*parts.hours),
                (days, hours),
                "{since} {until}"
            );
            assert_eq!(parts.edges, edges, "{since} {until}");
        };
        check(0, 2 * D, &[(0, 2 * D)], &[], &[]);
        check(5, 5, &[], &[], &[]);
        check(9, 5, &[], &[], &[]);
        check(5, 9, &[], &[], &[(5, 9)]);
        check(H - 1, H + 1, &[], &[], &[(H - 1, H), (H, H + 1)]);
        check(H, 3 * H, &[], &[(H, 3 * H)], &[]);
        check(
            H - 1,
            2 * D + 2 * H + 1,
            &[(D, 2 * D)],
            &[(H, D), (2 * D, 2 * D + 2 * H)],
            &[(H - 1, H), (2 * D + 2 * H, 2 * D + 2 * H + 1)],
        );
        let last = i64::MAX - i64::MAX % H;
        let parts = Parts::of(0, i64::MAX);
        assert_eq!(parts.edges, [(last, i64::MAX)]);
        assert_eq!(Parts::of(last + 1, i64::MAX).edges, [(last + 1, i64::MAX)]);
    }

    #[test]
    fn moments_are_told_to_the_minute() {
        assert_eq!(moment_text(0), "1970-01-01 00:00 UTC");
        assert_eq!(moment_text(H + 1), "1970-01-01 01:01 UTC");
    }
}
