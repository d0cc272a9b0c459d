// Tables as text that is aligned for the eye and valid Markdown at once.

/** Columns of numbers (first cell a digit or a sign) stand to the right. */
export function markdownTable(names: readonly string[], values: readonly (readonly string[])[]): string {
  const header = names.map(inOneCell)
  const rows = values.map(row => row.map(inOneCell))
  const widths = header.map((name, i) => Math.max(3, width(name), ...rows.map(row => width(row[i] ?? ''))))
  const isNumeric = header.map((_, i) => rows.length > 0 && rows.every(row => /^([-+±]?[\d.]|$)/.test(row[i] ?? '')))
  const pad = (text: string, i: number) => {
    const gap = ' '.repeat(widths[i] - width(text))
    return isNumeric[i] ? gap + text : text + gap
  }
  const line = (cells: readonly string[]) => `| ${header.map((_, i) => pad(cells[i] ?? '', i)).join(' | ')} |`
  const rule = `|${widths.map((n, i) => (isNumeric[i] ? `${'-'.repeat(n + 1)}:` : '-'.repeat(n + 2))).join('|')}|`
  return [line(header), rule, ...rows.map(line)].join('\n')
}

/** Ids may be any text: one that ended a cell or a line would end the table. */
function inOneCell(cell: string): string {
  return cell.replaceAll('|', '\\|').replaceAll(/\s*[\r\n]+\s*/g, ' ')
}

/** Characters, not UTF-16 units. */
function width(text: string): number {
  return [...text].length
}
