"""`make mutants` tries all modules, `make mutants MODULE=ids` one; exits with 1 where too little was found."""

import argparse
import secrets
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import psycopg
from psycopg import sql

from conduit.migrate import migrate
from conduit_testing.containers import ContainerError, postgres_server, redis_server
from tests.mutants import report, trial
from tests.mutants.suites import SUITES, package_of


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", choices=[*SUITES, []], metavar="MODULE", help=", ".join(SUITES))
    parser.add_argument("--page", action="store_true", help="only make docs/mutants.md again")
    given = parser.parse_args(words)
    modules: list[str] = [] if given.page else given.modules or list(SUITES)
    return _try(modules) if modules else _write_page()


def _write_page() -> int:
    report.PAGE.write_text(report.page(report.kept(), report.explanations()))
    return 0


def _try(modules: list[str]) -> int:
    """Try these modules and keep the results; the exit code."""
    tried: list[trial.Trial] = []
    problems: list[str] = []
    try:
        needed = any(package_of(module).servers for module in modules)
        servers: AbstractContextManager[dict[str, str]] = _servers() if needed else nullcontext({})
        with servers as environment:
            for module in modules:
                print(f"{module}: {', '.join(SUITES[module])}", flush=True)
                try:
                    tried.append(trial.run(module, SUITES[module], environment))
                except trial.TrialError as error:
                    problems.append(f"{module}: {error}")
                    continue
                report.save(tried[-1])
                _write_page()
                _tell(tried[-1])
    except ContainerError as error:
        problems.append(str(error))
    for module, percent in report.below(tried).items():
        problems.append(f"{module}: {percent:.1f} % found, {package_of(module).wanted_percent:.0f} % are wanted")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


@contextmanager
def _servers() -> Iterator[dict[str, str]]:
    """One PostgreSQL and one Redis for all mutants, as environment: each of them makes databases of its own."""
    with postgres_server() as postgres, redis_server() as redis:
        name = f"test_template_{secrets.token_hex(6)}"
        with psycopg.connect(postgres, autocommit=True) as server:
            server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
            try:
                migrate(f"{postgres.rpartition('/')[0]}/{name}")
                yield {
                    "TEST_DATABASE_URL": postgres,
                    "TEST_REDIS_ADDRESS": redis,
                    "TEST_TEMPLATE_DATABASE": name,
                }
            finally:
                server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _tell(one: trial.Trial) -> None:
    print(f"  {one.found} of {one.mutants} found, {one.percent:.1f} %, in {one.seconds:.0f} s {dict(one.by_status)}")
    explained = report.explanations()
    for mutant in one.survivors:
        if report.reason_for(one.module, mutant, explained) is None:
            print(f"  {mutant.status} in {mutant.function}\n    - {mutant.before}\n    + {mutant.after}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
