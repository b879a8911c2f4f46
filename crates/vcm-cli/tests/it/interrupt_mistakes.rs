//! Mistakes in what a scenario says about guests and interrupts: each is reported with its place.

use crate::flat::FlatFactory;
use crate::guests::Flaw;
use crate::interrupts::{GUESTS, failed, on_flat};
use vcm_cli::run::{Silent, run};
use vcm_cli::scenario::Scenario;

fn problem(flaw: Flaw, text: &str) -> String {
    let scenario = match Scenario::parse("bad.toml", text) {
        Ok(scenario) => scenario,
        Err(problem) => return problem.to_string(),
    };
    let machine = FlatFactory { flaw, ..FlatFactory::default() };
    match run(&scenario, &machine, None, &mut Silent) {
        Ok(run) => panic!("nothing is wrong with it: {:?}", run.record.checks),
        Err(problem) => problem.to_string(),
    }
}

#[test]
fn a_machine_without_interrupts_is_a_clear_problem() {
    let cases = [
        (GUESTS, "bad.toml:3:1: guest.name: flat cannot give devices' interrupts to guests"),
        ("[[step]]\ndo = \"settle\"\n", "bad.toml:1:1: step: flat cannot give devices' interrupts to guests"),
        ("[[step]]\ndo = \"expect-remains\"\n", "bad.toml:1:1: step: flat cannot give"),
    ];
    for (text, expected) in cases {
        let found = problem(Flaw::NoInterrupts, text);
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn a_mistake_is_reported_with_line_column_and_key() {
    let guest = "[[guest]]\nname = \"g\"\n";
    let given = format!("{guest}[[interrupt]]\ndevice = \"codec\"\nguest = \"g\"\n");
    let step = |text: &str| format!("{given}[[step]]\n{text}");
    let cases = [
        ("[[guest]]\nvcpus = 1\n".to_owned(), "1:1: guest.name: this key is missing"),
        (format!("{guest}vcpus = 0\n"), "3:1: guest.vcpus: a guest has one virtual CPU at least"),
        (format!("{guest}vcpus = 70000\n"), "3:1: guest.vcpus: 70000 virtual CPUs are too many"),
        (
            format!("{guest}ends = \"appart\"\n"),
            "3:1: guest.ends: \"appart\" is none of the words that go here; did you",
        ),
        (
            format!("{guest}quiets = \"never\"\n"),
            "3:1: guest.quiets: \"never\" is none of the words that go here",
        ),
        (format!("{guest}{guest}"), "4:1: guest.name: there is a guest called \"g\" already"),
        (format!("{guest}[[interrupt]]\nguest = \"g\"\n"), "3:1: interrupt.device: this key is missing"),
        ("[[interrupt]]\ndevice = \"codec\"\n".into(), "1:1: interrupt.guest: this key is missing"),
        (
            "[[interrupt]]\ndevice = \"codec\"\nguest = \"g\"\n".into(),
            "3:1: interrupt.guest: no guest is called \"g\"",
        ),
        (format!("{given}gsi = 988\n"), "6:1: interrupt.gsi: a guest's interrupts are 0 to 987"),
        (format!("{given}gsy = 9\n"), "6:1: interrupt.gsy: this key is not known; did you mean \"gsi\"?"),
        (
            format!("{given}forwarded = \"yes\"\n"),
            "6:1: interrupt.forwarded: expected true or false, found string",
        ),
        (
            format!("{given}index = 4294967296\n"),
            "6:1: interrupt.index: 4294967296 is more than 32 bits hold",
        ),
        (
            format!("{given}index = 7\n"),
            "6:1: interrupt.index: codec has no interrupt 7 that a guest could be given; it has 0, 1",
        ),
        (
            format!("{guest}[[interrupt]]\ndevice = \"cpu\"\nguest = \"g\"\n"),
            "4:1: interrupt.device: cpu (cpu0) has no interrupt 0 that a guest could be given",
        ),
        (
            format!("{guest}[[interrupt]]\ndevice = \"kodec\"\nguest = \"g\"\n"),
            "4:1: interrupt.device: flat has no device for the role \"kodec\"; did you mean \"codec\"?",
        ),
        (
            format!("{given}[[interrupt]]\ndevice = \"codec\"\nguest = \"g\"\n"),
            "6:1: interrupt: there is an interrupt called \"codec.0\" already",
        ),
        (
            format!("{given}gsi = 3\n[[interrupt]]\ndevice = \"dma\"\nguest = \"g\"\ngsi = 3\n"),
            "10:1: interrupt.gsi: guest \"g\" has an interrupt 3 already",
        ),
        (step("do = \"ask\"\n"), "6:1: step.interrupt: this key is missing"),
        (
            step("do = \"ask\"\ninterrupt = \"codec.1\"\n"),
            "8:1: step.interrupt: no interrupt is called \"codec.1\"; did you mean \"codec.0\"?",
        ),
        (
            step("do = \"ask\"\ninterrupt = \"codec.0\"\ntimes = 0\n"),
            "9:1: step.times: a device asks 1 to 1000000 times in a step",
        ),
        (
            step("do = \"ask\"\ninterrupt = \"codec.0\"\npace = \"fast\"\n"),
            "9:1: step.pace: \"fast\" is none of the words",
        ),
        (step("do = \"run-until\"\ninterrupt = \"codec.0\"\n"), "6:1: step.stage: this key is missing"),
        (
            step("do = \"run-until\"\ninterrupt = \"codec.0\"\nstage = \"done\"\n"),
            "9:1: step.stage: \"done\" is none of the words",
        ),
        (step("do = \"kill\"\nguest = \"codec.0\"\n"), "8:1: step.guest: no guest is called \"codec.0\""),
        (
            step("do = \"kill\"\nguest = \"g\"\n[[step]]\ndo = \"kill\"\nguest = \"g\"\n"),
            "11:1: step.guest: guest \"g\" does not run at this point",
        ),
        (
            step("do = \"unforward\"\ninterrupt = \"codec.0\"\nrefused = \"EBUSY\"\n"),
            "9:1: step.refused: this key is not known",
        ),
        (
            step("do = \"forward\"\ninterrupt = \"codec.0\"\nrefused = \"EAGIAN\"\n"),
            "9:1: step.refused: \"EAGIAN\" is no error number that anything is refused with; did you mean \"EAGAIN\"?",
        ),
        (
            step("do = \"expect-interrupt\"\ninterrupt = \"codec.0\"\n"),
            "6:1: step: nothing is expected of the interrupt; say what",
        ),
        (
            step("do = \"expect-interrupt\"\ninterrupt = \"codec.0\"\ndeliverd = 1\n"),
            "9:1: step.deliverd: this key is not known; did you mean \"delivered\"?",
        ),
        (
            step("do = \"expect-remains\"\nlist-register = 1\n"),
            "8:1: step.list-register: this key is not known; did you mean \"list-registers\"?",
        ),
        (
            step("do = \"compare\"\nfewer = \"codec.0\"\nthan = \"codec.0\"\n"),
            "6:1: step.by: this key is missing",
        ),
        (
            step("do = \"compare\"\nfewer = \"codec.0\"\nthan = \"codec.0\"\nby = 0\n"),
            "10:1: step.by: it is how many times fewer",
        ),
        (
            step("do = \"compare\"\nfewer = \"codec.0\"\nthan = \"x\"\nby = 1\n"),
            "9:1: step.than: no interrupt is called \"x\"",
        ),
        (step("do = \"unfoward\"\n"), "7:1: step.do: no step does \"unfoward\"; did you mean \"unforward\"?"),
        (
            step("do = \"forward\"\ninterrupt = \"codec.0\"\n").replacen(
                "guest = \"g\"\n",
                "guest = \"g\"\ngiven = \"later\"\n",
                1,
            ),
            "9:1: step.interrupt: interrupt \"codec.0\" is nobody's at this point; give it to its guest first",
        ),
    ];
    for (text, expected) in cases {
        let found = problem(Flaw::None, &text);
        assert!(
            found.starts_with(&format!("bad.toml:{expected}")),
            "{text}\n  found    {found}\n  expected bad.toml:{expected}"
        );
    }
}

/// What the machine refuses is found in the file by its line.
#[test]
fn a_refusal_says_which_line_asked() {
    let run = on_flat("[[guest]]\nname = \"g\"\nvcpus = 9\n[[step]]\ndo = \"settle\"\n");
    assert_eq!(
        failed(&run),
        [("guest g can be had", "start a guest: EINVAL: at most 8 virtual CPUs (test.toml:2)")]
    );
    let twice = "[[guest]]\nname = \"g\"\n[[interrupt]]\nname = \"a\"\ndevice = \"dma\"\nguest = \"g\"\n\
                 [[interrupt]]\nname = \"b\"\ndevice = \"dma\"\nguest = \"g\"\n";
    assert_eq!(
        failed(&on_flat(twice)),
        [("interrupt b can be had", "assign: EBUSY: it is taken (test.toml:8)")]
    );
}
