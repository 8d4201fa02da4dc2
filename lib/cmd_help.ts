// Help texts: commander's formatting of an option table. Loads commander only when help is wanted.

import type { OptionSpec } from "./cmd_getopt.ts";

/** What a help text says besides the options. */
export interface HelpText {
  /** The command line up to the options, such as `spa knock`. */
  readonly name: string;
  /** What follows the name on the usage line. */
  readonly usage: string;
  readonly description: string;
  /** Printed below the options as it is. */
  readonly footer?: string;
  /** Columns of the terminal. */
  readonly width?: number;
}

/** The help of a command, made from its option table. */
export async function formatHelp(table: readonly OptionSpec[], text: HelpText): Promise<string> {
  const { Command, Option } = await import("@commander-js/extra-typings");
  const command = new Command(text.name)
    .usage(text.usage)
    .description(text.description)
    .helpOption(false)
    .configureHelp({ helpWidth: text.width ?? 80 });
  for (const spec of table) {
    if (spec.hidden) continue;
    const argument = spec.argument === undefined ? "" : ` <${spec.argument}>`;
    const short = spec.short === undefined ? "" : `-${spec.short}, `;
    command.addOption(
      new Option(`${short}--${spec.long}${argument}`, spec.help).helpGroup(`${spec.group}:`),
    );
  }
  const help = command.helpInformation();
  return text.footer === undefined ? help : `${help}\n${text.footer}`;
}
