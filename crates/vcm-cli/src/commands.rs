//! What each command does.

use crate::args::{
    Command, DoctorArguments, GraphArguments, GraphFormat, MachineArguments, MachinesArguments, RunArguments,
    ScenariosArguments, TopologyArguments,
};
use crate::destination::{Destination, print};
use crate::host::{self, Verdict};
use crate::machine::{Machine, Shipped, find, machine_names, machines};
use crate::output::{Style, dot, picture, report, summary, svg};
use crate::problem::Problem;
use crate::progress::Terminal;
use crate::run::{Leaks, Run, run};
use crate::scenario::{Scenario, shipped, shipped_names};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// Something did not hold.
const FAILED: u8 = 1;
/// The scenario, the machine or the command line is wrong.
const WRONG: u8 = 2;

/// Does what the command line says.
pub fn execute(command: &Command) -> ExitCode {
    let done = match command {
        Command::Run(arguments) => run_command(arguments),
        Command::Graph(arguments) => graph(arguments),
        Command::Topology(arguments) => topology(arguments),
        Command::Machines(arguments) => list_machines(arguments),
        Command::Scenarios(arguments) => list_scenarios(arguments),
        Command::Doctor(arguments) => doctor(arguments),
        Command::Devices(arguments) => host::devices(arguments, style(std::io::stdout().is_terminal())),
    };
    match done {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("vcm: {}", crate::output::printable(&problem.to_string()));
            ExitCode::from(WRONG)
        }
    }
}

/// The machine that the command line or the scenario names.
fn machine(arguments: &MachineArguments, scenario: &Scenario) -> Result<Box<dyn Machine>, Problem> {
    let mut machine = match (&arguments.machine, &scenario.machine) {
        (Some(name), _) => find(name)?,
        (None, Some(name)) => {
            find(&name.text).map_err(|problem| Problem { place: Some(name.place.clone()), ..problem })?
        }
        (None, None) => find(machine_names().next().unwrap_or_default())?,
    };
    for binding in &arguments.bind {
        let role = machine.bindings_mut().bind(binding)?;
        let roles = scenario.roles();
        if !roles.contains(role) {
            let what = format!("--bind {binding}: {} has no role \"{role}\"", scenario.name);
            return Err(Problem::new(what).with_known(role, roles));
        }
    }
    Ok(machine)
}

fn run_command(arguments: &RunArguments) -> Result<ExitCode, Problem> {
    let scenario = Scenario::open(&arguments.scenario)?;
    let machine = machine(&arguments.machine, &scenario)?;
    // Before the run: nobody wants to wait for a result that has no place to go.
    if let (Some(json), Some(report)) = (&arguments.json, &arguments.report)
        && json == report
    {
        let path = json.display();
        return Err(Problem::new(format!("--json {path} --report {path}: two outputs need two places")));
    }
    let open = |path: &Option<PathBuf>| path.as_deref().map(|path| Destination::open(Some(path))).transpose();
    let (json, html) = (open(&arguments.json)?, open(&arguments.report)?);
    let mut progress = Terminal::new();
    let run = run(&scenario, &*machine, arguments.seed, &mut progress)?;
    progress.clear();
    // Who wants to hear only of what went wrong does not want the faults that a scenario is about.
    let spared = arguments.quiet && run.record.ok;
    for note in run.record.notes.iter().filter(|_| !arguments.quiet) {
        eprintln!("note: {}", crate::output::printable(note));
    }
    let heard = if spared { run.record.of_the_machine } else { run.record.warnings.len() };
    for warning in run.record.warnings.iter().take(heard) {
        eprintln!("warning: {}", crate::output::printable(warning));
    }
    let to_stdout = [&json, &html].into_iter().any(|output| matches!(output, Some(Destination::Standard)));
    if arguments.quiet {
        for check in run.record.failed() {
            eprintln!("FAIL {}: {}", check.name, check.detail);
        }
        if run.record.leaks != Leaks::default() {
            eprintln!("FAIL something leaked: {:?}", run.record.leaks);
        }
    } else if to_stdout {
        eprint!("{}", summary(&run, style(std::io::stderr().is_terminal())));
    } else {
        print(&summary(&run, style(std::io::stdout().is_terminal())))?;
    }
    if let Some(json) = json {
        json.write(&run.record.to_json().map_err(|error| Problem::new(format!("JSON: {error}")))?)?;
    }
    if let Some(html) = html {
        html.write(&report(&run))?;
    }
    Ok(exit(&run))
}

fn exit(run: &Run) -> ExitCode {
    if run.record.ok { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

fn style(terminal: bool) -> Style {
    // https://no-color.org: set and not empty.
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if terminal && !unwanted { Style::Coloured } else { Style::Plain }
}

fn graph(arguments: &GraphArguments) -> Result<ExitCode, Problem> {
    let scenario = Scenario::open(&arguments.scenario)?;
    let machine = machine(&arguments.machine, &scenario)?;
    if scenario.only_measures() {
        return Err(Problem::new(format!(
            "scenario {} only measures: there is no graph to draw",
            scenario.name
        )));
    }
    // What is measured has no picture.
    let scenario = Scenario { measure: None, ..scenario };
    let output = Destination::open(arguments.output.as_deref())?;
    let run = run(&scenario, &*machine, None, &mut Terminal::new())?;
    let text = match arguments.format {
        GraphFormat::Svg => svg(&run.fullest),
        GraphFormat::Dot => dot(&run.fullest),
        GraphFormat::Text => picture(&run.fullest),
    };
    output.write(&text)?;
    for check in run.record.failed() {
        eprintln!("FAIL {}: {}", check.name, check.detail);
    }
    Ok(exit(&run))
}

fn topology(arguments: &TopologyArguments) -> Result<ExitCode, Problem> {
    let topology = find(&arguments.machine)?.topology()?;
    match &arguments.json {
        None => print(&topology.to_string())?,
        Some(path) => {
            let json = serde_json::to_string_pretty(&topology);
            let json = json.map_err(|error| Problem::new(format!("JSON: {error}")))?;
            Destination::open(Some(path))?.write(&(json + "\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list_machines(arguments: &MachinesArguments) -> Result<ExitCode, Problem> {
    let machines = machines()?;
    if let Some(path) = &arguments.json {
        let list: Vec<_> = machines
            .iter()
            .map(|Shipped { description, machine }| {
                let missing = machine.available().err().map(|problem| problem.what);
                serde_json::json!({
                    "name": description.name,
                    "about": description.about,
                    "available": missing.is_none(),
                    "why_not": missing,
                    "roles": description.bindings.roles,
                    "memories": description.bindings.memories,
                })
            })
            .collect();
        let json = serde_json::to_string_pretty(&list);
        let json = json.map_err(|error| Problem::new(format!("JSON: {error}")))?;
        Destination::open(Some(path))?.write(&(json + "\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for Shipped { description, machine } in machines {
        text.push_str(&format!("{}\n  {}\n", description.name, description.about));
        if let Err(problem) = machine.available() {
            text.push_str(&format!("  not available here: {}\n", problem.what));
        }
        for (role, device) in &description.bindings.roles {
            text.push_str(&format!("  {role:<14} {device}\n"));
        }
        for (name, memory) in &description.bindings.memories {
            text.push_str(&format!("  {name:<14} {memory} (memory)\n"));
        }
        text.push('\n');
    }
    text.push_str(
        "A role that is not listed is the device with that name (`vcm topology NAME`). Every machine has cpu as well, and\n\
         guest0 (a virtual machine); all but linux have dsp (a remote processor).\n",
    );
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn list_scenarios(arguments: &ScenariosArguments) -> Result<ExitCode, Problem> {
    if let Some(name) = &arguments.name {
        let known = || Problem::new(format!("no shipped scenario is called \"{name}\""));
        print(shipped(name).ok_or_else(|| known().with_known(name, shipped_names()))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for name in shipped_names() {
        let scenario = Scenario::open(name)?;
        text.push_str(&format!("{name:<16} {}\n", scenario.about));
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn doctor(arguments: &DoctorArguments) -> Result<ExitCode, Problem> {
    Ok(match host::doctor(arguments, style(std::io::stdout().is_terminal()))? {
        Verdict::There => ExitCode::SUCCESS,
        Verdict::Lacking => ExitCode::from(FAILED),
    })
}
