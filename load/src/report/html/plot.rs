//! Plots as SVG. The library knows fixed colours only, so each is drawn in one that stands for a variable of the page's style, which
//! has a value for light and one for dark.

use std::ops::Range;

use plotters::{
    coord::ranged1d::{AsRangedCoord, ValueFormatter},
    prelude::*,
};

/// Width and height of a plot, in pixels of its own; a page scales it.
const SIZE: (u32, u32) = (760, 260);

/// What colours stand for, in the order of the lines of a plot.
const LINES: [(RGBColor, &str); 4] = [
    (RGBColor(1, 1, 1), "var(--line-1)"),
    (RGBColor(2, 2, 2), "var(--line-2)"),
    (RGBColor(3, 3, 3), "var(--line-3)"),
    (RGBColor(4, 4, 4), "var(--line-4)"),
];
const INK: (RGBColor, &str) = (RGBColor(5, 5, 5), "var(--ink)");
const GRID: (RGBColor, &str) = (RGBColor(6, 6, 6), "var(--grid)");

/// One line of a plot.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// For the legend.
    pub(super) name: String,
    /// From left to right.
    pub(super) points: Vec<(f64, f64)>,
}

/// How an axis is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Evenly, from zero.
    Linear,
    /// By powers of ten.
    Logarithmic,
}

/// What the axes show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axes {
    /// Of the vertical one.
    pub(super) scale: Scale,
    /// Its unit.
    pub(super) unit: &'static str,
    /// What a place on the horizontal one is called.
    pub(super) across: fn(f64) -> String,
    /// What that is.
    pub(super) across_unit: &'static str,
}

/// Draws lines; without any point there is no plot.
pub(super) fn draw(lines: &[Line], axes: &Axes) -> Option<String> {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let x = bounds(points().map(|(x, _)| x))?;
    let y = bounds(points().map(|(_, y)| y))?;
    let x = x.start..x.end.max(x.start + 1e-9);
    let mut svg = String::new();
    let drawn = match axes.scale {
        Scale::Linear => draw_on(&mut svg, lines, axes, x, 0.0..(y.end * 1.05).max(1e-9)),
        Scale::Logarithmic => {
            let lowest = points().map(|(_, y)| y).filter(|y| *y > 0.0).fold(f64::MAX, f64::min).min(y.end).max(1e-3);
            draw_on(&mut svg, lines, axes, x, (lowest / 1.2..y.end.max(lowest) * 1.2).log_scale())
        }
    };
    drawn.ok()?;
    Some(coloured(svg))
}

/// Returns the class of a line in the legend.
pub(super) const fn class(line: usize) -> &'static str {
    ["line-1", "line-2", "line-3", "line-4"][line % LINES.len()]
}

fn draw_on<'a, Y>(
    svg: &'a mut String,
    lines: &[Line],
    axes: &Axes,
    x: Range<f64>,
    y: Y,
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut builder = ChartBuilder::on(&area);
    builder.margin(6).margin_right(18).x_label_area_size(38).y_label_area_size(64);
    let mut chart = builder.build_cartesian_2d(x, y)?;
    let text = || ("sans-serif", 12).into_font().color(&INK.0);
    let (across, up) = (|x: &f64| (axes.across)(*x), |y: &f64| short(*y));
    let mut mesh = chart.configure_mesh();
    mesh.x_label_formatter(&across).y_label_formatter(&up).x_desc(axes.across_unit).y_desc(axes.unit);
    mesh.x_labels(9).y_labels(6).label_style(text()).axis_desc_style(text());
    mesh.axis_style(INK.0).bold_line_style(GRID.0).light_line_style(TRANSPARENT).draw()?;
    for (number, line) in lines.iter().enumerate() {
        let (colour, _) = LINES[number % LINES.len()];
        let points = line.points.iter().filter(|(_, y)| axes.scale == Scale::Linear || *y > 0.0);
        chart.draw_series(LineSeries::new(points.copied(), colour.stroke_width(2)))?;
    }
    area.present()
}

fn bounds(values: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    values.fold(None, |bounds: Option<Range<f64>>, value| {
        Some(bounds.map_or(value..value, |bounds| bounds.start.min(value)..bounds.end.max(value)))
    })
}

/// Puts the variables of the style in the place of colours, and the page's width in that of the plot's.
fn coloured(svg: String) -> String {
    let all = LINES.into_iter().chain([INK, GRID]);
    let svg = all.fold(svg, |svg, (RGBColor(red, green, blue), variable)| {
        svg.replace(&format!("#{red:02X}{green:02X}{blue:02X}"), variable)
    });
    let (width, height) = SIZE;
    svg.replacen(&format!("width=\"{width}\" height=\"{height}\""), "role=\"img\"", 1)
}

/// Returns a number with few digits.
pub(super) fn short(number: f64) -> String {
    match number {
        number if number >= 10_000.0 => format!("{:.0}k", number / 1e3),
        number if number >= 1000.0 => format!("{:.1}k", number / 1e3),
        number if number >= 10.0 || number.fract() == 0.0 => format!("{number:.0}"),
        number if number >= 0.1 => format!("{number:.1}"),
        number => format!("{number:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(scale: Scale) -> Axes {
        Axes { scale, unit: "ms", across: short, across_unit: "s" }
    }

    fn line(points: &[(f64, f64)]) -> Line {
        Line { name: "x".to_owned(), points: points.to_vec() }
    }

    #[test]
    fn a_plot_has_the_colours_of_the_style_and_no_other() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let lines = [line(&[(0.0, 1.0), (1.0, 20.0)]), line(&[(0.0, 0.0), (1.0, 300.0)])];
            let svg = draw(&lines, &axes(scale)).unwrap();
            assert!(svg.starts_with("<svg role=\"img\" viewBox=") && !svg.contains("=\"#0"), "{svg}");
            for part in ["var(--line-1)", "var(--line-2)", "var(--ink)", "var(--grid)"] {
                assert!(svg.contains(part), "{part} is not in {svg}");
            }
        }
    }

    #[test]
    fn a_plot_of_one_point_or_of_zeros_is_drawn_and_one_of_none_is_not() {
        for points in [&[(3.0, 0.0)][..], &[(0.0, 0.0), (1.0, 0.0)], &[(2.0, 5.0)]] {
            assert!(draw(&[line(points)], &axes(Scale::Linear)).is_some(), "{points:?}");
            assert!(draw(&[line(points)], &axes(Scale::Logarithmic)).is_some(), "{points:?}");
        }
        assert!(draw(&[line(&[])], &axes(Scale::Linear)).is_none());
    }
}
