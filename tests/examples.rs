//! The training examples reach what they promise.

// Each example has its own copy of the shared code.
#![allow(clippy::duplicate_mod, dead_code)]

#[path = "../examples/adding_problem.rs"]
mod adding_problem;
#[path = "../examples/charseq.rs"]
mod charseq;
#[path = "../examples/dates/main.rs"]
mod dates;
#[path = "../examples/hihello.rs"]
mod hihello;
#[path = "../examples/tagger.rs"]
mod tagger;
#[path = "../examples/time_series.rs"]
mod time_series;

#[test]
fn hihello_says_every_letter() {
    assert_eq!(hihello::learn(100).unwrap(), 1.0);
}

#[test]
fn charseq_tells_its_sentence() {
    let (_, accuracy) = charseq::learn(300).unwrap();
    assert_eq!(accuracy, 1.0);
}

#[test]
fn a_tagger_reads_sentences_from_both_ends() {
    let (model, accuracy) = tagger::learn(120).unwrap();
    assert!(accuracy > 0.98, "{accuracy}");
    let tagged = model.tagged("the old man the boat").unwrap();
    assert_eq!(tagged, "the (determiner) old (noun) man (verb) the (determiner) boat (noun)");
    let tagged = model.tagged("the old man sat").unwrap();
    assert_eq!(tagged, "the (determiner) old (adjective) man (noun) sat (verb)");
}

#[test]
fn dates_become_iso_dates_and_an_alignment_is_drawn() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("dates.svg");
    let (model, exact) = dates::learn(400, &path).unwrap();
    assert!(exact >= 0.98, "{exact}");
    let beams = model.beams("3 May 1979", 3).unwrap();
    assert_eq!(beams[0].1, "1979-05-03");
    assert!(beams[0].0 > -0.5 && beams.windows(2).all(|pair| pair[0].0 >= pair[1].0));
    let svg = std::fs::read_to_string(path).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    assert!(svg.matches("<rect").count() > 100);
}

#[test]
fn an_lstm_adds_where_a_simple_network_does_not() {
    let (lstm, rnn) = adding_problem::compare(3000).unwrap();
    assert!(lstm < 0.01, "Lstm: {lstm}");
    assert!(rnn > 0.1, "BasicRnn: {rnn}");
}

#[test]
fn a_forecast_beats_tomorrow_is_today_and_is_drawn() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("time_series.svg");
    let (error, baseline) = time_series::forecast(300, &path).unwrap();
    assert!(error < 0.1 * baseline, "{error}, tomorrow is today: {baseline}");
    let svg = std::fs::read_to_string(path).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    for text in ["truth", "forecast", "step"] {
        assert!(svg.contains(text), "{text} is not in the picture");
    }
}
