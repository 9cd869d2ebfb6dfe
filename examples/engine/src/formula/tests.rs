use super::*;
use proptest::prelude::*;

fn value(text: &str) -> f64 {
    let formula = Formula::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert!(formula.inputs().is_empty(), "{text}");
    formula.evaluate(&[])
}

#[test]
fn arithmetic_follows_the_convention() {
    let cases = [
        ("1 + 2 * 3", 7.0),
        ("2 * 3 ^ 2", 18.0),
        ("8 / 4 / 2", 1.0),
        ("8 / 4 * 2", 4.0),
        ("8 * 4 / 2", 16.0),
        ("8 - 4 - 2", 2.0),
        ("8 - 4 + 2", 6.0),
        ("8 + 4 - 2 + 1", 11.0),
        ("-(3^2)", -9.0),
        ("(-3)^2", 9.0),
        ("2^-1", 0.5),
        ("2^(3^2)", 512.0),
        ("1.5e3 + 1E-1 + 2e+1", 1520.1),
        ("max(1, 2) * 3 + min(4, 3)", 9.0),
        ("max(max(1, 5), 3)", 5.0),
        ("sqrt(16) + abs(-3) * exp(0)", 7.0),
        ("cos(PI) + ln(E)", 0.0),
        ("2 * -3", -6.0),
        ("sin(0)^2", 0.0),
        ("max(4, 2 + 1)", 4.0),
        ("min(1, 2 * 3 - 1) + 1", 2.0),
        ("1 - 2 + 3 - 4", -2.0),
        ("8 / 4 * 2 / 4 * 3", 3.0),
        ("2 - -3", 5.0),
        ("-2 * -(3 + 4) / -7", -2.0),
        ("-max(1, 2)", -2.0),
    ];
    for (text, expected) in cases {
        assert!(
            (value(text) - expected).abs() < 1e-12,
            "{text} = {}",
            value(text)
        );
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for text in [
        "-x^2",
        "+x^2",
        "a * -x^2",
        "-(a + b)^2",
        "-sin(x)^2",
        "2^-x^2",
        "(-x^2)",
    ] {
        let error = Formula::parse(text).unwrap_err();
        assert!(
            matches!(
                error,
                FormulaError::SignBeforePower | FormulaError::ChainedPower
            ),
            "{text}: {error}"
        );
    }
    assert_eq!(
        Formula::parse("a^b^c").unwrap_err(),
        FormulaError::ChainedPower
    );
    assert!(Formula::parse("a - b^2").is_ok());
}

#[test]
fn what_does_not_parse_says_why_and_what_to_write() {
    let cases = [
        "",
        "   ",
        "a +",
        "* a",
        "a b",
        "2 a",
        "(a",
        "a)",
        "a + (b",
        "sin a",
        "sin",
        "sin()",
        "a,b",
        "max(a)",
        "a; b",
        "a = 2",
        "{a}",
        "a\tb",
        "ä + 1",
        "1..2",
        "1.2.3",
        "a // b",
        "a +* b",
        "()",
        "a()",
        "foo(a)",
        "max(a, b, c)",
        "max(a, max(b, c))",
        "__import__",
        "a ^ ^ b",
        ".",
        "1e",
        "π",
    ];
    for text in cases {
        let error = Formula::parse(text)
            .map(|f| f.inputs().to_vec())
            .expect_err(text);
        assert!(!error.to_string().is_empty() && !error.hint().is_empty());
        assert!(!error.to_string().contains("Operator {"), "{error}");
    }
    let long = "1+".repeat(600) + "1";
    assert_eq!(
        Formula::parse(&long).unwrap_err(),
        FormulaError::TooLong(1201)
    );
    for many in ["-", "+", "(", "sin(", "max(", "1^", "1,", "max(1,", "- "] {
        let many = many.repeat(1_000 / many.len());
        assert!(Formula::parse(&many).is_err(), "{many}");
    }
    let deep = format!("{}1{}", "(".repeat(400), ")".repeat(400));
    assert_eq!(Formula::parse(&deep).unwrap_err(), FormulaError::Brackets);
}

#[test]
fn what_the_parser_below_would_misread_is_refused() {
    let cases = [
        "(1, 2)",
        "-(1, 2)",
        "2 * -(1, 3)",
        "sin(1) * (2, 3)",
        "sin(1, 2)",
        "max((1, 2))",
        "max(1, 2, )",
        "max(, 2)",
        "(1)(2)",
        "(1) 2",
        "2 (1)",
        "a (1)",
        "1 + 3 max (4)",
        "(3) max (4)",
        "(3) max(1, 2)",
        "2 sin(1)",
        "(2) sin(1)",
        "PI E",
        "PI (1)",
    ];
    for text in cases {
        let error = Formula::parse(text).expect_err(text);
        assert!(matches!(error, FormulaError::Syntax(_)), "{text}: {error}");
    }
}

#[test]
fn the_longest_formulas_have_their_value() {
    assert_eq!(value(&("1+".repeat(499) + "1")), 500.0);
    assert_eq!(value(&("-".repeat(998) + "1")), 1.0);
    assert_eq!(value(&("1-".repeat(499) + "1")), -498.0);
    let deep = format!("{}1{}", "abs(".repeat(64), ")".repeat(64));
    assert_eq!(value(&deep), 1.0);
    let nested = format!("{}1{}", "max(".repeat(64), ", 2)".repeat(64));
    assert_eq!(value(&nested), 2.0);
}

#[test]
fn a_division_by_zero_has_no_finite_value() {
    assert!(!value("1 / 0").is_finite());
    assert!(value("0 / 0").is_nan());
    assert!(value("max(0 / 0, 1)").is_nan() && value("min(1, 0 / 0)").is_nan());
}

#[test]
fn an_input_may_not_be_named_like_a_function_or_constant() {
    assert!(
        ["x", "price_2", "sine", "E2", "minimum"]
            .iter()
            .all(|name| is_input_name(name))
    );
    for name in [
        "", "2x", "_x", "sin", "E", "PI", "max", "a b", "a-b", "é", "x\n",
    ] {
        assert!(!is_input_name(name), "{name}");
    }
    for name in ["sine", "E2", "minimum", "expo", "log100", "PIx"] {
        assert_eq!(Formula::parse(name).unwrap().inputs(), [name]);
    }
}

/// A formula as text and its value, computed here without the parser.
fn arithmetic() -> impl Strategy<Value = (String, f64)> {
    let leaf = (1u32..9).prop_map(|n| (n.to_string(), f64::from(n)));
    leaf.prop_recursive(4, 24, 2, |inner| {
        (inner.clone(), inner, 0usize..6).prop_map(|((a, x), (b, y), op)| match op {
            0 => (format!("({a} + {b})"), x + y),
            1 => (format!("({a} - {b})"), x - y),
            2 => (format!("({a}) * ({b})"), x * y),
            3 => (format!("-({a})"), -x),
            4 => (format!("abs({a})"), x.abs()),
            _ => (format!("max({a}, 2)"), x.max(2.0)),
        })
    })
}

proptest! {
    /// Brackets decide the order, and every operator means what it says.
    #[test]
    fn fully_bracketed_arithmetic_is_exact((text, expected) in arithmetic()) {
        if text.len() <= MAX_LENGTH && let Ok(formula) = Formula::parse(&text) {
            let got = formula.evaluate(&[]);
            prop_assert!((got - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{text}: {got} is not {expected}");
        }
    }

    /// No text makes the parser panic.
    #[test]
    fn any_text_is_a_formula_or_an_error(text in "[a-c0-9 +*/^(),.esinmax-]{0,60}|\\PC{0,40}") {
        let _ = Formula::parse(&text).map(|f| f.evaluate(&vec![1.0; f.inputs().len()]));
    }
}
