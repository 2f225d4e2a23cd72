// Numbers and texts as a person reads them. Whatever came from outside passes `plain` before it is shown.

const ODD = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const MOST = 400;

/** A text in which nothing is hidden and nothing turns round what stands beside it, at most `most` characters. */
export function plain(text: unknown, most: number = MOST): string {
  const all = String(text ?? '').replace(ODD, '\u00b7');
  return all.length > most ? `${all.slice(0, most - 1)}\u2026` : all;
}

/** A share as per cent, with a digit after the point only below ten. */
export function percent(share: number | null | undefined): string {
  if (share == null) return '\u2013';
  const value = share * 100;
  if (value === 0) return '0\u202f%';
  if (value < 0.1) return '<\u202f0.1\u202f%';
  return `${value < 10 ? trimmed(value, 1) : Math.round(value)}\u202f%`;
}

/** Times a second. */
export function rate(value: number | null | undefined): string {
  if (value == null) return '\u2013';
  if (value === 0) return '0/s';
  if (value < 0.1) return '<\u202f0.1/s';
  return `${value < 10 ? trimmed(value, 1) : count(Math.round(value))}/s`;
}

/** A duration, in the unit in which it has few digits. */
export function seconds(value: number | null | undefined): string {
  if (value == null) return '\u2013';
  if (value < 0.001) return `${trimmed(value * 1000, 2)}\u202fms`;
  if (value < 1) return `${trimmed(value * 1000, value < 0.01 ? 1 : 0)}\u202fms`;
  if (value < 60) return `${trimmed(value, value < 10 ? 1 : 0)}\u202fs`;
  return age(value);
}

/** How long something has been: two units at most. */
export function age(value: number | null | undefined): string {
  if (value == null) return '\u2013';
  const whole = Math.max(0, Math.floor(value));
  if (whole < 60) return `${whole}\u202fs`;
  if (whole < 3600) return `${Math.floor(whole / 60)}\u202fmin ${whole % 60}\u202fs`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}\u202fh ${Math.floor((whole % 3600) / 60)}\u202fmin`;
  return `${Math.floor(whole / 86400)}\u202fd ${Math.floor((whole % 86400) / 3600)}\u202fh`;
}

/** The time of day here. */
export function clock(at: number | null | undefined): string {
  return at == null ? '' : new Date(at * 1000).toLocaleTimeString('en-GB');
}

/** Day and time of day here. */
export function moment(at: number | null | undefined): string {
  return at == null ? '' : new Date(at * 1000).toLocaleString('en-GB');
}

export function count(value: number): string {
  return value.toLocaleString('en-GB');
}

/** A number of things, in words. */
export function many(value: number, one: string, more: string = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : more}`;
}

function trimmed(value: number, digits: number): string {
  return value.toFixed(digits).replace(/\.0+$/, '');
}
