// A report as one HTML file: no scripts, no fonts, nothing from a network. Readable on a phone, in the dark, and in print.

export interface PageTable {
  readonly header: readonly string[]
  /** Cells that begin with `*` are set in bold: the best of a row, say. */
  readonly rows: readonly (readonly string[])[]
  readonly caption?: string
}

export interface PageFigure {
  /** As `toSvg` gives it. */
  readonly svg: string
  readonly caption: string
}

export interface PageSection {
  readonly heading: string
  /** Paragraphs. */
  readonly text?: readonly string[]
  /** Points of a list, after the paragraphs. */
  readonly points?: readonly string[]
  readonly tables?: readonly PageTable[]
  readonly figures?: readonly PageFigure[]
}

export interface Page {
  readonly title: string
  /** One line below the title: what, when, on which machine. */
  readonly subtitle: string
  readonly sections: readonly PageSection[]
}

const STYLE = `
:root { color-scheme: light; --ink: #222; --pale: #666; --line: #ddd; --shade: #f6f6f4 }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 4rem; color: var(--ink); background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .3rem }
h2 { font-size: 1.3rem; margin: 2.8rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--line) }
.subtitle { color: var(--pale); margin: 0 }
nav { margin: 1.2rem 0; display: flex; flex-wrap: wrap; gap: .3rem .9rem }
nav a { color: #0072b2; text-decoration: none }
nav a:hover { text-decoration: underline }
p, li { max-width: 46rem }
.scroll { overflow-x: auto; margin: .8rem 0 }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
caption { text-align: left; color: var(--pale); padding: .2rem 0; caption-side: top }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line) }
th { font-weight: 600; background: var(--shade); vertical-align: bottom; white-space: normal; min-width: 4.5rem }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; white-space: nowrap }
th:first-child { background: var(--shade) }
td b { color: #005a8c }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; align-items: start }
figure { margin: 0 }
figure svg { width: 100%; height: auto; display: block }
figcaption { font-size: .85rem; color: var(--pale) }
@media print {
  body { max-width: none; padding: 0; font-size: 10.5pt }
  nav { display: none }
  h2 { break-after: avoid }
  figure, tr { break-inside: avoid }
  .scroll { overflow: visible }
  table { font-size: 7pt }
  th, td { padding: .1rem .25rem }
  .figures { grid-template-columns: 1fr 1fr }
}
`

/** The whole file. */
export function htmlPage({ title, subtitle, sections }: Page): string {
  const links = sections.map(({ heading }) => `<a href="#${anchor(heading)}">${escaped(heading)}</a>`)
  let figures = 0
  const body = sections.map(section => sectionHtml(section, () => figures++))
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escaped(title)}</h1>
<p class="subtitle">${escaped(subtitle)}</p>
<nav>${links.join(' ')}</nav>
${body.join('\n')}
</body>
</html>
`
}

function sectionHtml({ heading, text, points, tables, figures }: PageSection, number: () => number): string {
  const parts = [`<h2 id="${anchor(heading)}">${escaped(heading)}</h2>`]
  for (const paragraph of text ?? []) parts.push(`<p>${escaped(paragraph)}</p>`)
  if (points?.length) parts.push(`<ul>${points.map(point => `<li>${escaped(point)}</li>`).join('')}</ul>`)
  for (const table of tables ?? []) parts.push(tableHtml(table))
  const drawn = (figures ?? []).map(
    ({ svg, caption }) => `<figure>${embedded(svg, number())}<figcaption>${escaped(caption)}</figcaption></figure>`,
  )
  if (drawn.length > 0) parts.push(`<div class="figures">${drawn.join('\n')}</div>`)
  return `<section>\n${parts.join('\n')}\n</section>`
}

function tableHtml({ header, rows, caption }: PageTable): string {
  const cell = (text: string) => (text.startsWith('*') ? `<b>${escaped(text.slice(1))}</b>` : escaped(text))
  const head = header.map(name => `<th scope="col">${escaped(name)}</th>`).join('')
  const body = rows.map(row => `<tr>${row.map(text => `<td>${cell(text)}</td>`).join('')}</tr>`).join('\n')
  const about = caption ? `<caption>${escaped(caption)}</caption>` : ''
  return `<div class="scroll"><table>${about}<thead><tr>${head}</tr></thead>\n<tbody>\n${body}\n</tbody></table></div>`
}

/** Names inside a drawing are its own alone: several on one page would share them. */
function embedded(svg: string, number: number): string {
  return svg
    .replaceAll(/\bid="([^"]+)"/g, `id="f${number}-$1"`)
    .replaceAll(/url\(#([^)]+)\)/g, `url(#f${number}-$1)`)
    .replaceAll(/href="#([^"]+)"/g, `href="#f${number}-$1"`)
}

function anchor(heading: string): string {
  return encodeURIComponent(heading.toLowerCase().replaceAll(/\s+/g, '-'))
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
