#!/usr/bin/env node
/** The `earshot` program: runs the command line, and turns what goes wrong into one line and an exit code. */
import { CommanderError } from "commander";
import { EarshotError } from "../earshot-error.ts";
import { buildProgram } from "./program.ts";

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

try {
  await buildProgram().parseAsync();
  // What is still open after a stop (a slow socket, a timer) is not to keep the process.
  process.exit(0);
} catch (error) {
  process.exit(report(error));
}

function report(error: unknown): number {
  // commander has printed its own: help, the version, or what is wrong.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  const { code, message } = error instanceof EarshotError ? error : { code: "INTERNAL", message: String(error) };
  process.stderr.write(`earshot: ${code}: ${message}\n`);
  if (wantsStack()) process.stderr.write(`${(error as Error).stack}\n`);
  return EXIT_FAILED;
}

/** Looked up by hand, because the error may be about the configuration itself. */
function wantsStack(): boolean {
  const given = process.argv.findLast(
    (argument, index, all) => all[index - 1] === "--log-level" || argument.startsWith("--log-level="),
  );
  const level = given?.replace("--log-level=", "") ?? process.env.EARSHOT_LOG_LEVEL;
  return level === "debug" || level === "trace";
}
