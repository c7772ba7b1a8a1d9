//! A report with every kind of row, read back by key and by cell.

use serde_json::{Value, json};

use super::*;

fn interval(median: f64, low: f64, high: f64) -> Interval {
    Interval { median, low, high }
}

fn row(name: &str, figure: Figure, gate: Option<Bound>, moonshot: Option<Bound>) -> Row {
    Row {
        row: name.to_owned(),
        measure: format!("what {name} measures"),
        baseline: Some("raw hyper".to_owned()),
        figure,
        gate,
        moonshot,
        moonshot_also: true,
        cpu_us: Some(5.25),
        is_client_bound: false,
    }
}

fn ratio(median: f64, low: f64, high: f64) -> Figure {
    Figure::Ratio {
        ratio: interval(median, low, high),
        ours: Some(Quantity {
            value: 158_012.6,
            unit: "requests/s",
        }),
    }
}

fn at_least(gate: f64, moonshot: f64) -> (Option<Bound>, Option<Bound>) {
    (Some(Bound::AtLeast(gate)), Some(Bound::AtLeast(moonshot)))
}

/// Met, missed, absolute, skipped, full-only, without a gate.
fn report(control: f64) -> Report {
    let (gate, moonshot) = at_least(0.75, 0.9);
    let mut p1 = row("P1", ratio(0.8, 0.78, 0.82), gate, moonshot);
    p1.is_client_bound = true;
    let mut w3 = row(
        "W3",
        ratio(3.0, 2.5, 11.0),
        Some(Bound::AtMost(10.0)),
        Some(Bound::AtMost(4.0)),
    );
    w3.moonshot_also = false;
    let kib = Quantity {
        value: 70.5,
        unit: "KiB",
    };
    let mut w7 = row(
        "W7",
        Figure::Absolute(kib),
        Some(Bound::AtMost(64.0)),
        Some(Bound::AtMost(4.0)),
    );
    w7.baseline = None;
    w7.cpu_us = None;
    let reason = "wasmtime is not installed: see its site | or PATH".to_owned();
    let (gate, moonshot) = at_least(4.0, 7.0);
    let mut w2 = row("W2", Figure::Skipped(reason), gate, moonshot);
    w2.cpu_us = None;
    let mut p2 = row("P2", Figure::FullOnly, gate, moonshot);
    p2.cpu_us = None;
    let reference = row("R1", ratio(1.9, 1.8, 2.0), None, None);
    Report {
        meta: Meta {
            versions: [("holm".to_owned(), "0.1.0".to_owned())].into(),
            machine: Description {
                cpu: "AMD EPYC".to_owned(),
                kernel: "Linux 6.1 x86_64".to_owned(),
                n_cores: 2,
            },
            commit: Some("0123456789ab".to_owned()),
            mode: Mode::Quick,
            started: "2026-01-02T03:04:05Z".to_owned(),
            psi: Some(1.5),
            control: Some(interval(control, control - 0.01, control + 0.01)),
            generator_ceiling_per_s: Some(251_234.4),
        },
        rows: vec![p1, w3, w7, w2, p2, reference],
    }
}

fn json_of(report: &Report) -> Value {
    serde_json::from_str(&report.to_json()).unwrap()
}

#[test]
fn the_document_has_exactly_its_keys() {
    let text = report(1.0).to_json();
    assert!(text.ends_with("}\n"));
    let document = json_of(&report(1.0));
    let keys =
        |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(keys(&document), ["meta", "rows", "void"]);
    let sorted = |names: &[&str]| -> Vec<String> {
        let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        names.sort();
        names
    };
    let meta = [
        "versions",
        "kernel",
        "cpu",
        "n_cores",
        "commit",
        "mode",
        "started",
        "psi",
        "control",
        "generator_ceiling_per_s",
        "client_bound",
    ];
    assert_eq!(keys(&document["meta"]), sorted(&meta));
    let entry = [
        "row",
        "measure",
        "baseline",
        "ratio",
        "ci",
        "value",
        "unit",
        "gate",
        "gate_met",
        "moonshot_met",
        "cpu_us",
        "skipped",
    ];
    for row in document["rows"].as_array().unwrap() {
        assert_eq!(keys(row), sorted(&entry));
    }
}

#[test]
fn the_document_says_what_was_found() {
    let document = json_of(&report(1.0));
    assert_eq!(document["void"], json!(false));
    assert_eq!(
        document["meta"],
        json!({
            "versions": {"holm": "0.1.0"},
            "kernel": "Linux 6.1 x86_64",
            "cpu": "AMD EPYC",
            "n_cores": 2,
            "commit": "0123456789ab",
            "mode": "quick",
            "started": "2026-01-02T03:04:05Z",
            "psi": 1.5,
            "control": {"ratio": 1.0, "ci": [0.99, 1.01]},
            "generator_ceiling_per_s": 251_234.4,
            "client_bound": ["P1"],
        })
    );
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(
        rows[0],
        json!({
            "row": "P1", "measure": "what P1 measures", "baseline": "raw hyper",
            "ratio": 0.8, "ci": [0.78, 0.82], "value": 158_012.6, "unit": "requests/s",
            "gate": ">= 0.75", "gate_met": true, "moonshot_met": false, "cpu_us": 5.25,
            "skipped": null,
        })
    );
    assert_eq!(rows[1]["gate_met"], json!(true));
    assert_eq!(
        rows[1]["moonshot_met"],
        json!(false),
        "3x, but not within 1 ms"
    );
    assert_eq!(
        rows[2],
        json!({
            "row": "W7", "measure": "what W7 measures", "baseline": null,
            "ratio": null, "ci": null, "value": 70.5, "unit": "KiB",
            "gate": "<= 64", "gate_met": false, "moonshot_met": false, "cpu_us": null,
            "skipped": null,
        })
    );
    assert_eq!(
        rows[3],
        json!({
            "row": "W2", "measure": "what W2 measures", "baseline": "raw hyper",
            "ratio": null, "ci": null, "value": null, "unit": null,
            "gate": ">= 4", "gate_met": null, "moonshot_met": null, "cpu_us": null,
            "skipped": "wasmtime is not installed: see its site | or PATH",
        })
    );
    assert!(
        rows[4]["skipped"]
            .as_str()
            .unwrap()
            .starts_with("full-only")
    );
    assert_eq!(rows[5]["gate"], Value::Null);
    assert_eq!(rows[5]["gate_met"], Value::Null);
}

#[test]
fn a_noisy_run_is_void_and_decides_nothing() {
    for (control, void) in [
        (1.0, false),
        (1.049, false),
        (0.951, false),
        (1.06, true),
        (0.94, true),
    ] {
        assert_eq!(report(control).is_void(), void, "{control}");
    }
    assert!(report(f64::NAN).is_void());
    let void = report(1.06);
    let document = json_of(&void);
    assert_eq!(document["void"], json!(true));
    for row in document["rows"].as_array().unwrap() {
        assert_eq!(row["gate_met"], Value::Null);
        assert_eq!(row["moonshot_met"], Value::Null);
    }
    let text = void.to_markdown();
    assert!(text.starts_with("**VOID**"), "{text}");
    assert!(text.contains("1.06") && !text.contains("MISSED"), "{text}");
    let mut uncontrolled = report(1.0);
    uncontrolled.meta.control = None;
    assert!(!uncontrolled.is_void());
}

#[test]
fn exit_codes() {
    let missed = report(1.0);
    assert_eq!((missed.exit_code(false), missed.exit_code(true)), (0, 1));
    let mut met = missed.clone();
    met.rows.retain(|row| row.row != "W7");
    assert_eq!((met.exit_code(false), met.exit_code(true)), (0, 0));
    let void = report(0.9);
    assert_eq!((void.exit_code(false), void.exit_code(true)), (2, 2));
}

#[test]
fn what_is_no_number_reaches_nothing_and_is_no_json() {
    let mut report = report(1.0);
    let (gate, moonshot) = at_least(0.0, 0.0);
    let nan = ratio(f64::NAN, f64::NAN, f64::NAN);
    report.rows = vec![row("P1", nan, gate, moonshot)];
    let found = &json_of(&report)["rows"][0];
    assert_eq!(found["ratio"], Value::Null);
    assert_eq!(found["ci"], Value::Null);
    assert_eq!(found["gate_met"], Value::Null);
    assert!(!Bound::AtLeast(0.0).is_met_by(f64::NAN));
    assert!(!Bound::AtMost(0.0).is_met_by(f64::NAN));
    assert!(report.to_markdown().contains("no number"));
}

/// The cells of the table by the first of their line.
fn cells(text: &str) -> std::collections::BTreeMap<String, Vec<String>> {
    text.lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| {
            let line = line.replace("\\|", "/");
            let cells: Vec<String> = line
                .trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect();
            (cells[0].clone(), cells)
        })
        .collect()
}

#[test]
fn the_table_marks_what_must_not_be_overlooked() {
    let text = report(1.0).to_markdown();
    let cells = cells(&text);
    assert_eq!(cells.len(), 7, "a header and six rows: {text}");
    assert_eq!(
        cells["P1"][2..],
        [
            "raw hyper",
            "0.800†",
            "0.780 to 0.820",
            "158,013 requests/s",
            "5.25",
            ">= 0.75 met",
            ">= 0.9 not yet"
        ]
    );
    assert_eq!(cells["W3"][7..], ["<= 10 met~", "<= 4 not yet~"]);
    assert_eq!(
        cells["W7"][2..],
        [
            "-",
            "-",
            "-",
            "70.5 KiB",
            "-",
            "<= 64 MISSED",
            "<= 4 not yet"
        ]
    );
    assert_eq!(cells["W2"][3..], ["skipped", "-", "-", "-", ">= 4", ">= 7"]);
    assert_eq!(cells["P2"][3], "full-only");
    assert_eq!(cells["R1"][7..], ["-", "-"]);
    for note in [
        "\n- † client-bound: ",
        "\n- ~ the bound lies within the interval",
        "\n- W2: wasmtime is not installed: ",
        "\n- P2: full-only: ",
        "\n- Control, one server against itself: 1.00 (0.990 to 1.01).",
        "\n- The load generator's own ceiling: 251,234 requests/s.",
        "\n- CPU pressure before the start: 1.50 %.",
        "\n- Versions: holm: 0.1.0.",
    ] {
        assert!(text.contains(note), "{note} in {text}");
    }
}

#[test]
fn marks_are_explained_only_where_they_are() {
    let mut plain = report(1.0);
    plain.rows.retain(|row| row.row == "W7");
    let text = plain.to_markdown();
    assert!(!text.contains('†') && !text.contains('~'), "{text}");
}

#[test]
fn the_table_is_a_table_whatever_a_row_says() {
    let mut report = report(1.0);
    report.rows[0].measure = "a|b\nc".to_owned();
    let text = report.to_markdown();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(lines.len(), 8, "{text}");
    for line in &lines {
        assert_eq!(line.chars().count(), lines[0].chars().count(), "{text}");
        assert_eq!(line.replace("\\|", "").matches('|').count(), 10, "{text}");
    }
}

#[test]
fn numbers_have_three_digits() {
    let check = |number, text: &str| assert_eq!(table::number(number), text);
    check(0.0, "0.000");
    check(0.7512, "0.751");
    check(1.0, "1.00");
    check(12.34, "12.3");
    check(123.4, "123");
    check(1234.5, "1,234");
    check(1_234_567.0, "1,234,567");
    check(-1234.0, "-1,234");
    check(f64::INFINITY, "no number");
}

#[test]
fn moments_are_rfc_3339() {
    let text = timestamp();
    assert_eq!(text.len(), "2026-01-02T03:04:05Z".len(), "{text}");
    assert!(humantime::parse_rfc3339(&text).is_ok(), "{text}");
}
