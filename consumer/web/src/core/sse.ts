// Server-sent events as they come over a fetch: unlike EventSource it shows the status of the answer, and the comments by
// which a silent connection is told from a dead one.

export interface ServerEvent {
  event: string;
  data: string;
  id: string | null;
}

/** Feed it text as it arrives; it gives the events that are whole. A comment is none. */
export class EventReader {
  private rest = "";

  read(text: string): ServerEvent[] {
    const blocks = (this.rest + text).replace(/\r\n?/g, "\n").split("\n\n");
    this.rest = blocks.pop() ?? "";
    return blocks.map(parsed).filter((event): event is ServerEvent => event !== null);
  }
}

function parsed(block: string): ServerEvent | null {
  let event = "message";
  let id: string | null = null;
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    if (at === 0 || line === "") continue;
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
    if (name === "event") event = value;
    else if (name === "data") data.push(value);
    else if (name === "id") id = value;
  }
  return data.length ? { event, data: data.join("\n"), id } : null;
}
